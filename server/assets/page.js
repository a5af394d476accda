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

  const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });

  /** A message of the page's, with what belongs into it: `[for one, for any number]`. */
  const say = ([one, many], values = {}) => {
    return (values.n === 1n ? one : many).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
  };

  /** A moment as the page says it: in its zone, by a clock of 24 hours. */
  function moment(text, { zone }) {
    const at = new Date(text);
    if (Number.isNaN(at.getTime())) return text;
    const { lang } = document.documentElement;
    const form = { dateStyle: "long", timeStyle: "short", hourCycle: "h23" };
    const local = lang === "en" ? "en-GB" : lang;
    try {
      return at.toLocaleString(local, { ...form, timeZone: zone });
    } catch {
      return at.toLocaleString(local, form); // the browser does not know the zone
    }
  }

  /** A reason in the page's language; as it is, where the page does not know it. */
  function reason(text, words) {
    for (const { exact, said } of words.reasons) {
      const pattern = exact.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{(\w+)\}/g, "(?<$1>.+?)");
      const found = new RegExp(`^${pattern}$`).exec(text)?.groups;
      if (!found) continue;
      const { n, when, ...more } = found;
      return say(said, { ...more, ...(n && { n: BigInt(n) }), ...(when && { when: moment(when, words) }) });
    }
    return text;
  }

  const quoted = (text, words) => say(words.quoted, { text });
  const kind = (name, words) => (Object.hasOwn(words.kind, name) ? say(words.kind[name]) : quoted(name, words));

  function counted([name, n], words) {
    const of = Object.hasOwn(words.count, name) && name !== "other" ? words.count[name] : null;
    return of ? say(of, { n }) : say(words.count.other, { n }).replace("{class}", quoted(name, words));
  }

  /** When an exchange began: a UUID of version 7 says so. */
  const began = (id, words) => moment(new Date(parseInt(id.replaceAll("-", "").slice(0, 12), 16)).toISOString(), words);

  /** What a certificate names, in the page's language. */
  function scope(text, words) {
    const found =
      /^(?:(everything)|class (\S+))(?: of interaction (\S+)| of interactions that began(?: from (\S+( ms)?))?(?: before (\S+( ms)?))?)?$/.exec(text);
    if (!found) return text.startsWith("record ") ? say(words.what.record) : quoted(text, words);
    const [, all, name, turn, from, , until] = found;
    if (turn) return say(all ? words.what.turn : words.what.part, { when: began(turn, words) });
    const what = all ? say(words.what.all) : say(words.what.class).replace("{kind}", kind(name, words));
    if (!from && !until) return what;
    const id = from && until ? "between" : from ? "from" : "before";
    return say(words.what[id], { what, from: from && moment(from, words), until: until && moment(until, words) });
  }

  /** Whose it is, what of it, when: so that nobody takes the proof of something else for theirs. */
  function facts({ user, scope: what, requested, records, kept }, words) {
    const list = make("dl", "", { className: "facts" });
    const row = (id, text) => list.append(make("dt", say(words.check[id])), make("dd", text));
    row("whose", user === null ? say(words.check.unsaid) : user);
    row("what", scope(what, words));
    if (records?.length) row("count", records.map((pair) => counted(pair, words)).join(", "));
    for (const { class: name, reason } of kept) row("kept", `${kind(name, words)}: ${reason}`);
    row("when", moment(requested, words));
    return list;
  }

  function show(card, mood, title, parts) {
    const note = make("div", "", { className: `note ${mood}` });
    const said = make("div", "");
    const first = make("p", "");
    first.append(make("strong", title));
    said.append(first, ...parts);
    note.append(said);
    card.querySelector("[data-verdict]").replaceChildren(note);
  }

  async function check(card, bytes, key) {
    const words = { ...JSON.parse(card.querySelector("[data-verdict]").dataset.words), zone: card.dataset.zone };
    const local = make("p", say(words.check.local));
    try {
      const { grade, level, outcome, words: exactly, reasons, body } = await keyfall.verify(bytes, key);
      const parts = [facts(body, words)];
      if (reasons.length) {
        const list = make("ul", "");
        list.append(...reasons.map((text) => make("li", reason(text, words))));
        parts.push(list);
      }
      const far = make("p", `${say(words.level[level])} `, { className: "level" });
      const more = card.querySelector("[data-more]");
      if (more) far.append(more.content.cloneNode(true));
      const exact = make("details", "", { className: "exact" });
      const lines = make("ul", "", { lang: "en", dir: "ltr" });
      lines.append(...[outcome, `Level ${level}: ${exactly}`, ...reasons].map((text) => make("li", text)));
      exact.append(make("summary", words.exact), lines);
      const { user } = card.dataset;
      if (user !== undefined && body.user !== null && body.user !== user) {
        parts.unshift(make("p", say(words.check[grade.toLowerCase()])));
        show(card, "bad", say(words.other), [...parts, far, exact, local]);
      } else {
        const mood = grade === "PENDING" ? "wait" : "good";
        show(card, mood, say(words.check[grade.toLowerCase()]), [...parts, far, exact, local]);
      }
    } catch (e) {
      if (!(e instanceof keyfall.Refused)) show(card, "wait", say(words.check.old), []);
      else show(card, "bad", say(words.check.refused), [make("p", e.message, { lang: "en" }), local]);
    }
  }

  for (const card of document.querySelectorAll("[data-check]")) {
    const [run, proof, file, key] = ["run", "proof", "file", "key"].map((name) => {
      return card.querySelector(`[data-${name}]`);
    });
    if (run) {
      run.hidden = false;
      run.addEventListener("click", () => check(card, new TextEncoder().encode(proof.textContent), key.textContent));
    }
    if (file) {
      const again = async () => {
        if (file.files.length === 1) {
          check(card, new Uint8Array(await file.files[0].arrayBuffer()), key.value);
        }
      };
      file.addEventListener("change", again);
      key.addEventListener("input", again);
    }
  }
})();
