/** The image as it is shipped: its files are what the OCI's specification says, the same each time, and its program works where nothing else is. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NONROOT } from "../../tools/image/base-files.ts";
import { type LayoutFile, writeArchive, writeLayout } from "../../tools/image/oci-layout.ts";
import { buildImage, partsOf } from "../../tools/image.ts";

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly architecture: string; readonly os: string };
  readonly annotations?: Readonly<Record<string, string>>;
}
interface Index {
  readonly schemaVersion: number;
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
}
interface Manifest {
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}
interface Config {
  readonly architecture: string;
  readonly config: { readonly User: string; readonly Entrypoint: readonly string[]; readonly Env: readonly string[] };
  readonly rootfs: { readonly diff_ids: readonly string[] };
}

const architecture = process.arch === "arm64" ? "arm64" : "amd64";
const isRoot = process.getuid?.() === 0;
let folder = "";
let files: readonly LayoutFile[] = [];
let layout = "";
let rootfs = "";

/** Layers are left plain: what gzip does to them is tested on a small one. */
const build = (): Promise<LayoutFile[]> => buildImage({ platforms: [partsOf(architecture)], compression: 0 });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "image-test-"));
  layout = join(folder, "layout");
  rootfs = join(folder, "rootfs");
  files = await build();
  writeLayout(layout, files);
  mkdirSync(rootfs);
  for (const { digest } of manifest().layers) execFileSync("tar", ["--extract", "--file", blobPath(digest), "--directory", rootfs]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const blobPath = (digest: string): string => join(layout, "blobs", "sha256", digest.replace("sha256:", ""));
const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;
const index = (): Index => readJson(join(layout, "index.json"));
const image = (): Index => readJson(blobPath(index().manifests[0]?.digest ?? ""));
const manifest = (): Manifest => readJson(blobPath(image().manifests[0]?.digest ?? ""));
const config = (): Config => readJson(blobPath(manifest().config.digest));
const digestOf = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** Runs a program of the image with its files as the whole world, as the user that the image names, with the environment that it sets. */
function inImage(words: readonly string[], environment: Readonly<Record<string, string>> = {}): string {
  const change = ["chroot", ...(isRoot ? [`--userspec=${config().config.User}`] : []), rootfs, ...words];
  const [program = "", ...args] = isRoot ? change : ["unshare", "--user", "--map-root-user", "--", ...change];
  const own = Object.fromEntries(config().config.Env.map((pair) => pair.split("=", 2) as [string, string]));
  return execFileSync(`/usr/${program === "chroot" ? "sbin" : "bin"}/${program}`, args, { encoding: "utf8", env: { ...own, ...environment } });
}

describe("the layout", () => {
  it("holds every blob that it names, with its digest, its size and its media type", () => {
    expect(readJson(join(layout, "oci-layout"))).toEqual({ imageLayoutVersion: "1.0.0" });
    const named = [...index().manifests, ...image().manifests, manifest().config, ...manifest().layers];
    for (const { digest, size } of named) {
      expect(statSync(blobPath(digest)).size).toBe(size);
      expect(digestOf(readFileSync(blobPath(digest)))).toBe(digest);
    }
    expect(readdirSync(join(layout, "blobs", "sha256")).sort()).toEqual(named.map(({ digest }) => digest.replace("sha256:", "")).sort());
    expect(index().manifests).toMatchObject([
      {
        mediaType: "application/vnd.oci.image.index.v1+json",
        annotations: { "io.containerd.image.name": expect.stringMatching(/^docker\.io\/drayage\/dray:\d/) },
      },
    ]);
    expect(image().manifests).toMatchObject([{ mediaType: "application/vnd.oci.image.manifest.v1+json", platform: { os: "linux", architecture } }]);
    expect(manifest().config.mediaType).toBe("application/vnd.oci.image.config.v1+json");
    expect(manifest().layers.map(({ mediaType }) => mediaType)).toEqual(Array(2).fill("application/vnd.oci.image.layer.v1.tar"));
    expect(config().rootfs.diff_ids).toEqual(manifest().layers.map(({ digest }) => digest));
    expect(config()).toMatchObject({ architecture, config: { User: `${NONROOT}:${NONROOT}`, Entrypoint: ["/dray"] } });
  });

  it("is the same when it is made again", async () => {
    expect((await build()).map(({ path, bytes }) => `${path} ${digestOf(bytes)}`)).toEqual(files.map(({ path, bytes }) => `${path} ${digestOf(bytes)}`));
  });

  it("as one file also names what docker load looks for", async () => {
    const archive = join(folder, "image.tar");
    await writeArchive(archive, files);
    const names = execFileSync("tar", ["--list", "--file", archive], { encoding: "utf8" }).trim().split("\n");
    const [docker] = JSON.parse(execFileSync("tar", ["--extract", "--to-stdout", "--file", archive, "manifest.json"], { encoding: "utf8" })) as {
      readonly Config: string;
      readonly RepoTags: readonly string[];
      readonly Layers: readonly string[];
    }[];
    expect(docker?.RepoTags).toEqual([expect.stringMatching(/^drayage\/dray:\d/)]);
    for (const name of [docker?.Config, ...(docker?.Layers ?? []), "oci-layout", "index.json"]) expect(names).toContain(name);
  });
});

describe("the program in the image", () => {
  it("answers to its own names and to Velero's", () => {
    expect(inImage(["/dray", "version", "--client-only"])).toMatch(/^dray \d/);
    expect(inImage(["/velero", "version", "--client-only"])).toMatch(/^dray \d/);
    expect(inImage(["/velero-restore-helper", "--help"])).toContain("Wait until a pod's volumes are filled");
    for (const role of [["server"], ["node-agent", "server"], ["data-mover", "backup"], ["pod-volume", "restore"], ["repo-maintenance"]])
      expect(inImage(["/velero", ...role, "--help"])).toContain(`Usage: dray ${role.join(" ")}`);
  });

  it("stores and restores with the native kernels and its threads, with nothing else around it", () => {
    const work = join(rootfs, "work");
    mkdirSync(join(work, "data"), { recursive: true });
    for (let file = 0; file < 100; file++) writeFileSync(join(work, "data", `file ${file}`), Buffer.alloc(50_000, file));
    if (isRoot) execFileSync("chown", ["--recursive", config().config.User, work]);
    // Where there is no compiler the image has no addon, and says so while it is made.
    const hasAddon = existsSync(join(rootfs, "usr/lib/drayage/native/build"));
    expect(hasAddon).toBe((process.env["PATH"] ?? "").split(":").some((path) => existsSync(join(path, "c++"))));
    const environment = {
      DRAY_REPOSITORY: "file:///work/repository",
      DRAY_REPOSITORY_PASSWORD: "correct horse",
      DRAY_KERNELS: hasAddon ? "native" : "portable",
      DRAY_STATE_DIR: "/tmp/state",
    };
    inImage(["/dray", "repo", "create"], environment);
    expect(inImage(["/dray", "snapshot", "create", "/work/data", "--parallel", "2"], environment)).toContain("100 files");
    const [snapshot] = JSON.parse(inImage(["/dray", "snapshot", "list", "--json"], environment)) as readonly { readonly id: string }[];
    inImage(["/dray", "snapshot", "restore", snapshot?.id ?? "", "/work/back", "--parallel", "2"], environment);
    for (let file = 0; file < 100; file++) expect(readFileSync(join(work, "back", `file ${file}`)).equals(Buffer.alloc(50_000, file))).toBe(true);
  });

  it("is handed on with the licences of everything in it, and has no shell", () => {
    const licences = readFileSync(join(rootfs, "usr/share/doc/drayage/THIRD-PARTY-LICENSES"), "utf8");
    for (const name of ["@aws-sdk/client-s3", "@azure/storage-blob", "undici", "commander", "yaml"]) expect(licences).toContain(`\n${name} `);
    for (const name of ["libc6", "libstdc++6", "libgcc-s1"]) expect(existsSync(join(rootfs, "usr/share/doc", name, "copyright"))).toBe(true);
    expect(existsSync(join(rootfs, "bin"))).toBe(false);
    expect(existsSync(join(rootfs, "usr/bin"))).toBe(false);
  });
});
