// A client of its own, which may be killed: uploads a file with tus-js-client, and goes on with what a
// client before it began, as the library stored that.
//   ENDPOINT TOKEN FILE STORED; each line of its input is how far it may send
// It says `at URL` (new or stored), `sends N`, `there N`, `waits N` and `whole RECORD`.
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import * as tus from "tus-js-client";

const [endpoint, token, file, stored] = process.argv.slice(2);
const say = (...words) => process.stdout.write(`${words.join(" ")}\n`);
let [limit, go, record] = [0, () => {}, undefined];
createInterface({ input: process.stdin }).on("line", (line) => {
  limit = Number(line);
  go();
});

const upload = new tus.Upload(createReadStream(file), {
  endpoint,
  headers: { Authorization: `Bearer ${token}` },
  metadata: { class: "audio", filetype: "audio/wav", filename: "wake.wav" },
  chunkSize: 512 << 10,
  retryDelays: [50, 100, 200, 400, ...Array(600).fill(800)],
  urlStorage: new tus.FileUrlStorage(stored),
  onUploadUrlAvailable: () => say("at", upload.url),
  async onBeforeRequest(request) {
    if (request.getMethod() !== "PATCH") return;
    const offset = Number(request.getHeader("Upload-Offset"));
    while (offset >= limit) {
      say("waits", offset);
      await new Promise((told) => { go = told; });
    }
  },
  onProgress: (sent) => say("sends", sent),
  onChunkComplete: (_, there) => say("there", there),
  onAfterResponse: (_, response) => { record = response.getHeader("Keyfall-Record") ?? record; },
  onError(error) {
    process.stderr.write(`${error}\n`);
    process.exit(1);
  },
  onSuccess() {
    say("whole", record);
    process.stdin.destroy();
  },
});
const [before] = await upload.findPreviousUploads();
if (before) upload.resumeFromPreviousUpload(before);
upload.start();
