/**
 * `npm run image`: the image `drayage/dray:VERSION`, made of files, without a daemon and without another image below it.
 *
 *   node tools/image.ts [--out DIR] [--name NAME] [--arch amd64,arm64] [--modules ARCH=DIR] [--sysroot ARCH=DIR] [--compression 0-9]
 *
 * Writes DIR/layout, an OCI image layout, and DIR/NAME.tar, the same as one file for `docker load`, `ctr images import` or `podman load`. The same sources, packages and
 * Node give the same digests. By default the image is for this machine's architecture; for another one its parts are to be named: a node_modules folder
 * (`npm ci --os=linux --cpu=arm64` elsewhere) and a root folder with Debian's libraries of it (docs/image.md).
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { baseFiles, NONROOT, type Parts } from "./image/base-files.ts";
import { makeLayer } from "./image/layer.ts";
import { type ImageConfig, imageLayout, type LayoutFile, type PlatformImage, writeArchive, writeLayout } from "./image/oci-layout.ts";
import { programFiles } from "./image/program-files.ts";

const root = resolve(import.meta.dirname, "..");
const { version, description, license } = JSON.parse(readFileSync(join(root, "apps", "dray", "package.json"), "utf8")) as Record<string, string>;

export interface ImageOptions {
  /** `drayage/dray:0.1.0` when left out. */
  readonly name?: string;
  readonly platforms: readonly Parts[];
  /** A level of gzip; 0 leaves the layers plain. */
  readonly compression: number;
  /** Told what is made, and what is left out and why. */
  readonly say?: (text: string) => void;
}

/** The files of the image's layout. */
export async function buildImage({ name = imageName(), platforms, compression, say = () => undefined }: ImageOptions): Promise<LayoutFile[]> {
  const images: PlatformImage[] = [];
  for (const parts of platforms) {
    const program = await programFiles(parts);
    if (program.withoutAddon !== undefined) say(`${parts.architecture}: without the native addon: ${program.withoutAddon}`);
    if (program.withoutRestic !== undefined) say(`${parts.architecture}: without restic: ${program.withoutRestic}`);
    // What seldom changes lies below what every version changes.
    const layers = [await makeLayer(baseFiles(parts, program.compiled), compression), await makeLayer(program.entries, compression)];
    images.push({ architecture: parts.architecture, layers });
    say(`${parts.architecture}: ${layers.map(({ blob }) => `${(blob.length / 1e6).toFixed(1)} MB`).join(" + ")}`);
  }
  return imageLayout(name, config(), images);
}

export function imageName(): string {
  return `drayage/dray:${version}`;
}

/** The parts of an architecture on this machine, unless others are named. */
export function partsOf(architecture: Parts["architecture"], modules?: string, sysroot?: string): Parts {
  return { architecture, modules: resolve(modules ?? join(root, "node_modules")), sysroot: resolve(sysroot ?? "/") };
}

function config(): ImageConfig {
  return {
    entrypoint: ["/dray"],
    user: `${NONROOT}:${NONROOT}`,
    env: ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/nonroot"],
    labels: {
      "org.opencontainers.image.title": "drayage",
      "org.opencontainers.image.description": description ?? "",
      "org.opencontainers.image.licenses": license ?? "",
      "org.opencontainers.image.version": version ?? "",
    },
  };
}

/** `ARCH=DIR` words as a table. */
function byArchitecture(words: readonly string[] = []): Readonly<Record<string, string>> {
  return Object.fromEntries(words.map((word) => word.split("=", 2) as [string, string]));
}

function isArchitecture(text: string): text is Parts["architecture"] {
  return text === "amd64" || text === "arm64";
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: "string", default: join(root, "dist", "image") },
      name: { type: "string", default: imageName() },
      arch: { type: "string", default: process.arch === "arm64" ? "arm64" : "amd64" },
      modules: { type: "string", multiple: true },
      sysroot: { type: "string", multiple: true },
      compression: { type: "string", default: "6" },
    },
  });
  const architectures = values.arch.split(",").filter(isArchitecture);
  const compression = Number(values.compression);
  if (architectures.length === 0 || architectures.join(",") !== values.arch)
    throw new Error(`Cannot build for "${values.arch}": amd64, arm64 or both are wanted`);
  if (!Number.isInteger(compression) || compression < 0 || compression > 9)
    throw new Error(`Cannot compress at level "${values.compression}": 0 to 9 is wanted`);
  const modules = byArchitecture(values.modules);
  const sysroots = byArchitecture(values.sysroot);
  const files = await buildImage({
    name: values.name,
    compression,
    platforms: architectures.map((architecture) => partsOf(architecture, modules[architecture], sysroots[architecture])),
    say: (text) => process.stdout.write(`${text}\n`),
  });
  if (!existsSync(values.out)) mkdirSync(values.out, { recursive: true });
  writeLayout(join(values.out, "layout"), files);
  const archive = join(values.out, `${values.name.replaceAll(/[^\w.-]+/g, "-")}.tar`);
  await writeArchive(archive, files);
  process.stdout.write(`${values.name} is in ${join(values.out, "layout")} and ${archive}\n`);
}

if (import.meta.main) await main();
