import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { BUILT_IN_COMPRESSIONS, LOCATION_TARGET, MOVER_SECRET_PATH } from "@drayage/api";
import { COMPRESSOR_NAMES } from "@drayage/kernels";
import { moverPrefix, parseMoverRequest } from "@drayage/mover-sdk";
import { afterAll, expect, it } from "vitest";
import { run } from "../main.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";

const folder = mkdtempSync(join(tmpdir(), "mover-command-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const example = resolve(import.meta.dirname, "../../../../packages/mover-sdk/examples/tar-volume.ts");

it("mover validate prints a line for each check and passes a mover that does what it must", async () => {
  const terminal = new RecordingTerminal();
  expect(await run(["mover", "validate", example], terminal)).toBe(0);
  expect(terminal.text.match(/^pass {2}/gm)).toHaveLength(12);
  expect(terminal.text).toContain('Mover "tar" passes.\n');
});

it("mover validate passes the mover of the guide, copied into a folder where nothing else is", async () => {
  const guide = readFileSync(resolve(import.meta.dirname, "../../../../docs/guides/write-a-mover.md"), "utf8");
  const file = join(folder, "mover.ts");
  writeFileSync(file, /```typescript\n(.*?)```/s.exec(guide)?.[1] ?? "");
  const terminal = new RecordingTerminal({ cwd: folder });
  expect(await run(["mover", "validate", "./mover.ts"], terminal), terminal.text).toBe(0);
  expect(terminal.text).toContain('Mover "my-tar" passes.\n');
});

it("the guide shows a request as programs get it", () => {
  const guide = readFileSync(resolve(import.meta.dirname, "../../../../docs/guides/write-a-mover.md"), "utf8");
  const request = parseMoverRequest(/```json\n(.*?)```/s.exec(guide)?.[1] ?? "");
  expect(request).toMatchObject({ operation: "backup", source: { volume: { mode: "Filesystem" } } });
  expect(request.target).toEqual({ kind: LOCATION_TARGET, name: "default", prefix: moverPrefix(request.mover), credentials: MOVER_SECRET_PATH });
  expect(Object.keys(request).sort()).toEqual(["about", "id", "mover", "operation", "parameters", "schema", "source", "target"]);
});

it("mover validate drayage has the built-in mover pass the same suite", async () => {
  const terminal = new RecordingTerminal();
  expect(await run(["mover", "validate", "drayage"], terminal), terminal.text).toBe(0);
  expect(terminal.text.match(/^pass {2}/gm)).toHaveLength(12);
});

it("the built-in mover publishes compressors that there are", () => {
  expect(BUILT_IN_COMPRESSIONS.filter((name) => name !== "none" && !COMPRESSOR_NAMES.includes(name))).toEqual([]);
});

it("mover validate ends with 1 and says what is wrong with one that does not", async () => {
  const file = join(folder, "forgetful.mjs");
  writeFileSync(file, `import mover from ${JSON.stringify(example)};\nexport default { ...mover, async delete() {} };\n`);
  const terminal = new RecordingTerminal();
  expect(await run(["mover", "validate", file], terminal)).toBe(1);
  expect(terminal.text).toContain("FAIL  deletes all that it wrote, and can do so again: the store still holds sample-1/volume.tar\n");
});

it.each([
  ["export default {};\n", /as a mover: name is missing/],
  ["export const mover = 1;\n", /it has no default export/],
  ["this is not code\n", /Cannot load mover/],
])("mover validate refuses a file that exports no mover (%#)", async (text, message) => {
  const file = join(folder, `wrong-${text.length}.mjs`);
  writeFileSync(file, text);
  const terminal = new RecordingTerminal();
  expect(await run(["mover", "validate", file], terminal)).not.toBe(0);
  expect(terminal.text + terminal.errors).toMatch(message);
});
