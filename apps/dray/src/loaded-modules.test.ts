/** What a verb loads is most of what it costs to start: engine verbs must not pay for Kubernetes, for clouds, or for the log of a server. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const MAIN = resolve(import.meta.dirname, "main.ts");
let folder = "";
let hook = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "loaded-test-"));
  mkdirSync(join(folder, "data"));
  writeFileSync(join(folder, "data", "file"), "content");
  hook = join(folder, "hook.mjs");
  // Notes every module that the main thread loads, by package.
  writeFileSync(
    hook,
    `import { writeFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { isMainThread } from "node:worker_threads";
const urls = [];
if (isMainThread) {
  registerHooks({ load: (url, context, next) => (urls.push(url), next(url, context)) });
  process.on("exit", () => writeFileSync(process.env.LOADED, JSON.stringify(urls)));
}
`,
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The packages of which a command loads anything, apart from Node's own modules. */
function packagesLoadedBy(...args: string[]): string[] {
  const loaded = join(folder, "loaded.json");
  execFileSync(process.execPath, ["--import", hook, MAIN, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      ...process.env,
      LOADED: loaded,
      DRAY_REPOSITORY: `file://${folder}/repository`,
      DRAY_REPOSITORY_PASSWORD: "correct horse",
      DRAY_STATE_DIR: join(folder, "state"),
    },
  });
  const urls = JSON.parse(readFileSync(loaded, "utf8")) as string[];
  const names = urls
    .filter((url) => url.startsWith("file:") && url !== `file://${hook}`)
    .map((url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? /\/(?:packages|apps)\/([^/]+)\/src\//.exec(url)?.[1] ?? "")
    .filter((name) => name !== "");
  return [...new Set(names)].sort();
}

const COMMAND_LINE = ["base", "commander", "dray"];
const ENGINE = [...COMMAND_LINE, "blob", "hash-wasm", "kernels", "repo"];
/** The data path reads restic's repositories too, and calls the system through koffi where there is no addon. */
const DATA_PATH = [...ENGINE, "@koromix/koffi-linux-x64", "@koromix/koffi-linux-arm64", "@napi-rs/blake-hash", "datapath", "koffi", "restic"];
const TABLES = ["fast-string-truncated-width", "fast-string-width"];

describe("a command", () => {
  it("that prints the version loads the command line alone", () => expect(packagesLoadedBy("--version")).toEqual(COMMAND_LINE));

  it("of the engine on a local repository loads the engine alone", () => {
    const beyond = (allowed: readonly string[], ...args: string[]): string[] => packagesLoadedBy(...args).filter((name) => !allowed.includes(name));
    expect(beyond(ENGINE, "repo", "create")).toEqual([]);
    expect(beyond([...DATA_PATH, ...TABLES], "snapshot", "create", join(folder, "data"))).toEqual([]);
    expect(beyond([...ENGINE, ...TABLES], "snapshot", "list")).toEqual([]);
    expect(beyond([...ENGINE, ...TABLES], "repo", "status")).toEqual([]);
    expect(packagesLoadedBy("snapshot", "list")).toContain("repo");
  });

  it("of the server loads neither the engine nor what speaks to plug-ins until there is a repository or a plug-in", () => {
    const loaded = packagesLoadedBy("server", "--help");
    expect(loaded).toContain("controllers");
    expect(loaded.filter((name) => ["repo", "datapath", "restic", "kernels", "hash-wasm", "koffi", "@grpc/grpc-js"].includes(name))).toEqual([]);
  });
});
