/**
 * Somebody follows docs/guides/write-a-mover.md in an empty folder: the SDK is installed from its tarballs, the mover that the guide prints fits its types and passes its suite, is
 * registered, moves a volume, brings it back, and goes with its data. Nothing comes from a registry.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { dataMoverClasses, deleteBackupRequests } from "@drayage/api";
import { configMaps } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { programEntry } from "../program.ts";
import { Harness, VELERO } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, untilRunning } from "./sample-application.ts";

const ROOT = resolve(import.meta.dirname, "..", "..");
const GUIDE = join(ROOT, "docs", "guides", "write-a-mover.md");
/** What the packages depend on, which a vendor's npm fetches. */
const DEPENDENCIES = ["ajv", "yaml", "fast-deep-equal", "fast-uri", "json-schema-traverse", "require-from-string"];
let harness: Harness;
let folder: string;

beforeAll(async () => {
  harness = await Harness.start({ nodes: 1 });
  folder = mkdtempSync(join(tmpdir(), "my-mover-"));
  const [mover, sample, suite] = [...readFileSync(GUIDE, "utf8").matchAll(/```typescript\n(.*?)```/gs)].map(([, code]) => code ?? "");
  for (const [name, code = ""] of Object.entries({ "mover.ts": mover, "sample.ts": sample, "mover.test.ts": suite })) writeFileSync(join(folder, name), code);
});
afterAll(async () => {
  await harness?.destroy();
  rmSync(folder, { recursive: true, force: true });
});

/** In the empty folder, as its owner types it. */
async function dray(...args: readonly string[]): Promise<string> {
  const env = { ...process.env, KUBECONFIG: harness.cluster.kubeconfigPath };
  return (await promisify(execFile)(process.execPath, [programEntry, ...args], { env, cwd: folder })).stdout;
}

it("installs the SDK without this repository, and has its types and its suite check the mover", async () => {
  const run = promisify(execFile);
  const tarballs = mkdtempSync(join(tmpdir(), "my-mover-sdk-"));
  try {
    await run(process.execPath, [join(ROOT, "tools", "pack-sdk.ts"), "--out", tarballs]);
    const packages = readdirSync(tarballs).map((name) => join(tarballs, name));
    const dependencies = DEPENDENCIES.map((name) => join(ROOT, "node_modules", name));
    const flags = ["--offline", "--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts", "--install-links"];
    writeFileSync(join(folder, "package.json"), '{"type":"module"}\n');
    await run("npm", ["install", ...flags, ...packages, ...dependencies], { cwd: folder });
  } finally {
    rmSync(tarballs, { recursive: true, force: true });
  }
  expect(readdirSync(join(folder, "node_modules", "@drayage")).sort()).toEqual(["api", "base", "mover-sdk"]);
  expect(existsSync(join(folder, "node_modules", "@drayage", "mover-sdk", "src"))).toBe(false);
  const compilerOptions = {
    strict: true,
    noEmit: true,
    module: "nodenext",
    target: "es2024",
    allowImportingTsExtensions: true,
    types: ["node"],
    typeRoots: [join(ROOT, "node_modules", "@types")],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["mover.ts", "sample.ts", "mover.test.ts"] }));
  await run(join(ROOT, "node_modules", ".bin", "tsc"), ["-p", "."], { cwd: folder });
  expect((await run(process.execPath, ["--test", "mover.test.ts"], { cwd: folder })).stdout).toMatch(/pass 1\n/);
});

it("moves a volume with the mover of the guide, which lies in no image", async () => {
  expect(await dray("mover", "validate", "./mover.ts")).toContain('Mover "my-tar" passes.\n');
  expect(await dray("mover", "add", "./mover.ts")).toBe('Mover "my-tar" 1.0.0 is registered.\n');
  expect(await dray("mover", "describe", "my-tar")).toContain('compression  <string, one of "gzip", "xz", default "gzip">');
  expect(await dray("mover", "explain", "my-tar.compression")).toContain("FIELD: compression <string>\n\nDESCRIPTION:\n    How the file is compressed\n");
  await deployApplication(harness, "shop", { files: {} });
  await fillFolder(harness, "shop", "files");
  const facts = await factsOf(harness, "shop", "files");
  await dray("backup", "create", "first", "--include-namespaces", "shop", "--snapshot-move-data", "--data-mover", "my-tar", "--wait");
  const [upload] = await harness.uploads("first", 1);
  expect(upload).toMatchObject({ spec: { datamover: "my-tar" }, status: { phase: "Completed", dataMoverResult: { compression: "gzip" } } });
  await harness.deleteNamespace("shop");
  await dray("restore", "create", "back", "--from-backup", "first", "--wait");
  await untilRunning(harness, "shop");
  expect(await factsOf(harness, "shop", "files")).toBe(facts);
  await dray("backup", "delete", "first", "--confirm");
  await harness.seen(deleteBackupRequests, { namespace: VELERO }, (found) => (found.length === 0 ? true : undefined));
  await harness.bucket(async (bucket) => {
    const left: string[] = [];
    for await (const { key } of bucket.listAll("plugins/")) left.push(key);
    expect(left).toEqual([]);
  });
  await harness.expectNothingLeft();
});

it("says of a class at once whether its mover takes its parameters", async () => {
  const create = (name: string, parameters: object) =>
    harness.client.create(dataMoverClasses, {
      metadata: { name },
      spec: { mover: "my-tar", parameters: { ...parameters }, selector: { namespaces: ["nowhere"] } },
    });
  const accepted = async (name: string): Promise<string> => {
    const isSaid = ({ status }: { readonly status?: { readonly conditions?: readonly unknown[] } }): boolean => (status?.conditions ?? []).length > 0;
    const { status } = await harness.until(dataMoverClasses, { name }, isSaid);
    return `${status?.conditions?.[0]?.status} ${status?.conditions?.[0]?.message}`;
  };
  await create("good", { compression: "xz" });
  await expect(create("bad", { compression: "zip", level: 9 })).rejects.toThrow(
    'denied the request: spec.parameters: "level" is not a parameter of mover "my-tar"; spec.parameters: parameter "compression" must be equal to one of the allowed values: "gzip", "xz" of mover "my-tar"',
  );
  expect(await accepted("good")).toBe("True ");
  expect(await dray("mover", "describe", "my-tar")).toContain("Accepted:     yes\n");
  await harness.client.delete(dataMoverClasses, { name: "good" });
});

it("takes the files of a mover that is removed away with it", async () => {
  const key = { namespace: VELERO, name: "drayage-mover-my-tar" };
  expect(await harness.client.find(configMaps, key)).toBeDefined();
  await dray("mover", "remove", "my-tar");
  expect(await harness.client.find(configMaps, key)).toBeUndefined();
});
