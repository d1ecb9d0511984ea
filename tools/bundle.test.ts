import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { asAscii, bundleProgram } from "./bundle.ts";

const root = resolve(import.meta.dirname, "..");
let folder = "";
let bundle = "";
let entry = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bundle-test-"));
  bundle = join(folder, "bundle");
  entry = await bundleProgram({ directory: bundle, dataFiles: "copy" });
  // What has compiled code is installed beside the bundle.
  mkdirSync(join(folder, "node_modules"));
  for (const name of ["koffi", "@koromix", "@napi-rs"]) symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  // Two seconds of work on a machine of its own; what shares the machine does not fail.
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function texts(): (readonly [name: string, text: string])[] {
  return readdirSync(bundle)
    .filter((name) => name.endsWith(".js"))
    .map((name) => [name, readFileSync(join(bundle, name), "utf8")] as const);
}

function dray(...args: string[]): string {
  return execFileSync(process.execPath, [entry, ...args], {
    encoding: "utf8",
    cwd: folder,
    env: {
      PATH: process.env["PATH"],
      HOME: folder,
      DRAY_REPOSITORY: `file://${folder}/repository`,
      DRAY_REPOSITORY_PASSWORD: "correct horse",
      DRAY_STATE_DIR: join(folder, "state"),
    },
  });
}

describe("a bundle to ship", () => {
  it("refers to nothing in the checkout that it was made from", () => {
    expect(texts().length).toBeGreaterThan(20);
    expect(
      texts()
        .filter(([, text]) => text.includes(`${root}/`))
        .map(([name]) => name),
    ).toEqual([]);
  });

  it("is in ASCII, so that its text takes a byte a character in memory, and imports http in the way that loads http alone", () => {
    const wrong = texts().filter(([, text]) => /[^\0-\x7f]|\bfrom\s*["'`](node:)?http["'`]|\bimport\s*\(?\s*["'`](node:)?http["'`]/.test(text));
    expect(wrong.map(([name]) => name)).toEqual([]);
    expect(texts().some(([, text]) => text.includes("getBuiltinModule"))).toBe(true);
  });

  it("has the data files, threads and small processes that the program looks for", () => {
    for (const name of [
      "csi.json",
      "data/schemas.json",
      "crds",
      "native/kernels.cc",
      "upload-thread.js",
      "write-worker.js",
      "kopia-decoder.js",
      "prepare-native-process.js",
    ])
      expect(existsSync(join(bundle, name)), name).toBe(true);
    expect(existsSync(join(bundle, "native", "build"))).toBe(false);
  });

  it("stores and restores with its threads, away from the sources and their packages", () => {
    const data = join(folder, "data");
    mkdirSync(data);
    for (let file = 0; file < 200; file++) writeFileSync(join(data, `file ${file}`), Buffer.alloc(20_000, file));
    expect(dray("repo", "create")).toContain("Created repository");
    expect(dray("snapshot", "create", data, "--parallel", "2")).toContain("200 files");
    const [snapshot] = JSON.parse(dray("snapshot", "list", "--json")) as { readonly id: string }[];
    dray("snapshot", "restore", snapshot?.id ?? "", join(folder, "back"), "--parallel", "2");
    for (let file = 0; file < 200; file++) expect(readFileSync(join(folder, "back", `file ${file}`)).equals(Buffer.alloc(20_000, file))).toBe(true);
  });
});

describe("asAscii", () => {
  it.each(['"… 😀"', "`ä名`", "/^[…名]\\…$/.test('名…')", "/\\\\…/.exec('a\\\\…').index", "'\\…'", "({ größe: 1 }).größe", "'\u2028'"])(
    "leaves what %s is",
    (code) => {
      const ascii = asAscii(code);
      expect(ascii).toMatch(/^[\0-\x7f]*$/);
      expect(runInNewContext(ascii)).toEqual(runInNewContext(code));
    },
  );
});
