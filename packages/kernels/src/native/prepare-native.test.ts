import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { loggerTo, toHex } from "@drayage/base";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createKernels } from "../kernels.ts";
import { kernelBuilds } from "../testing/builds.ts";
import { type AddonPlaces, addonName, addonPlaces, findAddon } from "./addon-file.ts";
import { loadNative } from "./load-native.ts";
import { prepareNative } from "./prepare-native.ts";

const hasAddon = (await kernelBuilds()).length > 1;
let folder: string;
let places: AddonPlaces;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drayage-native-"));
  places = { ...addonPlaces(), folders: [join(folder, "build"), join(folder, "cache")], headers: "headers", searchPath: join(folder, "bin") };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A compiler that runs a shell script with the output path in $out, and counts its calls. */
function fakeCompiler(script: string): void {
  mkdirSync(join(folder, "bin"), { recursive: true });
  const body = `#!/bin/sh\necho call >> "${folder}/calls"\nwhile [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done\n${script}\n`;
  writeFileSync(join(folder, "bin", "c++"), body);
  chmodSync(join(folder, "bin", "c++"), 0o755);
  places = { ...places, searchPath: [join(folder, "empty"), join(folder, "bin"), process.env["PATH"]].join(delimiter) };
}

it("says why there is no addon where no compiler, no source, no headers or no folder is, and the portable kernels do the work", async () => {
  expect(await prepareNative({ places })).toEqual({ state: "unavailable", reason: "the native addon is not used: no C++ compiler (c++) is on PATH" });
  expect((await prepareNative({ places: { ...places, source: join(folder, "gone.cc") } })).reason).toMatch(/its source ".*gone.cc" is not there/);
  fakeCompiler("exit 1");
  expect((await prepareNative({ places: { ...places, headers: undefined } })).reason).toMatch(/node-api-headers is not installed/);
  writeFileSync(join(folder, "file"), "");
  expect((await prepareNative({ places: { ...places, folders: [join(folder, "file", "build")] } })).reason).toMatch(/can be written/);
  const kernels = await createKernels({ build: "", load: () => loadNative(places) });
  expect(kernels.info).toEqual({ build: "portable", reason: "the native addon is not compiled" });
  const hasher = await kernels.hasher("BLAKE2B-256-128", new Uint8Array(32));
  expect(toHex(hasher.hash(new Uint8Array()))).toHaveLength(32);
});

it("is not looked for in a folder that cannot be looked into, as another user's home is", () => {
  // A link to itself fails for root as well.
  symlinkSync(join(folder, "round"), join(folder, "round"));
  expect(findAddon({ ...places, folders: [join(folder, "round")] })).toBeUndefined();
});

it("reports what the compiler said, and leaves nothing behind, in the first folder that can be written", async () => {
  places = { ...places, folders: ["/proc/none/build", ...places.folders] };
  fakeCompiler('echo "kernels.cc:1: error: no" >&2; : > "$out"; exit 1');
  expect(await prepareNative({ places })).toEqual({
    state: "unavailable",
    reason: "the native addon is not used: compiling it failed: kernels.cc:1: error: no",
  });
  expect(readdirSync(join(folder, "build"))).toEqual([]);
});

it("keeps nothing that does not pass its self-test", async () => {
  fakeCompiler('echo "no library" > "$out"');
  expect((await prepareNative({ places })).state).toBe("unavailable");
  expect(readdirSync(join(folder, "build"))).toEqual([]);
});

it("stops when it is told to", async () => {
  fakeCompiler("exit 1");
  const reason = new Error("enough");
  await expect(prepareNative({ places, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

it("warns once of an addon that is there and does not load, or that others can change, and works without it", async () => {
  const path = join(folder, "build", addonName(places) ?? "");
  mkdirSync(join(folder, "build"));
  writeFileSync(path, "no library");
  chmodSync(path, 0o755);
  const lines: string[] = [];
  const logger = loggerTo(({ level, message }) => lines.push(`${level} ${message}`));
  for (let i = 0; i < 2; i++) expect((await createKernels({ build: "", load: () => loadNative(places), logger })).info.build).toBe("portable");
  expect(lines).toEqual([expect.stringMatching(/^warn The portable kernels are used.*does not load/)]);
  await expect(createKernels({ build: "native", load: () => loadNative(places) })).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
  await expect(createKernels({ build: "fast" })).rejects.toMatchObject({ code: "USAGE" });
  chmodSync(path, 0o777);
  expect(findAddon(places)).toBeUndefined();
});

it("is compiled once by many that ask at once, also after a process that left its lock behind; found afterwards", async () => {
  const built = findAddon(addonPlaces());
  if (built === undefined) {
    // Nothing to hand out where there is no compiler.
    expect(hasAddon).toBe(false);
    return;
  }
  copyFileSync(built, join(folder, "built.node"));
  fakeCompiler(`cp "${folder}/built.node" "$out"`);
  mkdirSync(join(folder, "build"));
  const lock = join(folder, "build", `${addonName(places) ?? ""}.lock`);
  writeFileSync(lock, "");
  utimesSync(lock, 1, 1);
  const states = await Promise.all(Array.from({ length: 10 }, async () => (await prepareNative({ places })).state));
  expect(new Set(states)).toEqual(new Set(["built"]));
  expect(readdirSync(join(folder, "build"))).toEqual([addonName(places)]);
  expect(readFileSync(join(folder, "calls"), "utf8")).toBe("call\n");
  expect(await prepareNative({ places })).toEqual({ state: "ready" });
  expect((await createKernels({ build: "native", load: () => loadNative(places) })).info).toEqual({ build: "native" });
  expect((await createKernels({ build: "portable" })).info.build).toBe("portable");
});
