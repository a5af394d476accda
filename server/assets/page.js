/* What the page cannot do without a script: say what plays, stop what was erased, count what is ticked, and
 * check a proof in this browser. Everything else works without. */
(() => {
  "use strict";

  // --- What plays, and what was erased while it played

  function erased(audio) {
    const row = audio.closest(".turn");
    if (row.classList.contains("gone")) return;
    audio.pause();
    audio.removeAttribute("src");
    audio.load();
    row.classList.remove("playing");
    row.classList.add("gone");
    const state = row.querySelector(".state");
    state.textContent = state.dataset.erased;
    row.querySelectorAll("input, button").forEach((control) => (control.disabled = true));
  }

  async function look(audio) {
    if (!audio.getAttribute("src")) return;
    try {
      const answer = await fetch(audio.src, { method: "HEAD", cache: "no-store" });
      if (answer.status === 410) erased(audio);
    } catch {
      // Without a network nothing is known.
    }
  }

  for (const audio of document.querySelectorAll(".turn audio")) {
    let watch = 0;
    audio.addEventListener("play", () => {
      document.querySelectorAll("audio").forEach((other) => other !== audio && other.pause());
      audio.closest(".turn").classList.add("playing");
      clearInterval(watch);
      watch = setInterval(() => look(audio), 1000);
    });
    for (const end of ["pause", "ended"]) {
      audio.addEventListener(end, () => {
        clearInterval(watch);
        audio.closest(".turn").classList.remove("playing");
      });
    }
    audio.addEventListener("error", () => look(audio));
  }

  // --- What is ticked

  const said = document.querySelector(".selection p");
  if (said) {
    const count = () => {
      const n = document.querySelectorAll('input[name="turn"]:checked').length;
      const { none, one, many } = said.dataset;
      said.textContent = n === 0 ? none : n === 1 ? one : many.replace("2", String(n));
    };
    document.addEventListener("change", count);
    addEventListener("pageshow", count);
    count();
  }

  // --- What a page begins with is what a reader is led to, also by a browser that does not do so itself

  if (document.activeElement === document.body) document.querySelector("[autofocus]")?.focus();

  // --- Proofs

  function show(place, mood, title, lines) {
    const note = document.createElement("div");
    note.className = `note ${mood}`;
    const words = document.createElement("div");
    const first = document.createElement("p");
    const strong = document.createElement("strong");
    strong.textContent = title;
    first.append(strong);
    words.append(first);
    lines.forEach((line, n) => {
      const p = document.createElement("p");
      // What the check itself says, before the page's own last word, is in English.
      if (n < lines.length - 1) p.lang = "en";
      p.textContent = line;
      words.append(p);
    });
    note.append(words);
    place.replaceChildren(note);
  }

  async function check(place, bytes, key) {
    const words = place.dataset;
    try {
      const { grade, reasons } = await keyfall.verify(bytes, key);
      const [mood, title] = {
        FINAL: ["good", words.final],
        LIMITED: ["good", words.limited],
        PENDING: ["wait", words.pending],
      }[grade];
      show(place, mood, title, [...reasons, words.local]);
    } catch (e) {
      if (e instanceof keyfall.Refused) show(place, "bad", words.refused, [e.message, words.local]);
      else show(place, "wait", words.old, []);
    }
  }

  for (const card of document.querySelectorAll("[data-check]")) {
    const [place, run, proof, file, key] = ["verdict", "run", "proof", "file", "key"].map((name) => {
      return card.querySelector(`[data-${name}]`);
    });
    if (run) {
      run.hidden = false;
      run.addEventListener("click", () => check(place, new TextEncoder().encode(proof.textContent), key.textContent));
    }
    if (file) {
      const again = async () => {
        if (file.files.length === 1) {
          check(place, new Uint8Array(await file.files[0].arrayBuffer()), key.value);
        }
      };
      file.addEventListener("change", again);
      key.addEventListener("input", again);
    }
  }
})();
