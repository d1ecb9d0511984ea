/** The upper layer: the bundled program with its native addon and the packages that have compiled code, and the names under which the image answers. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { prepareNative } from "@drayage/kernels";
import { addonPlaces, findAddon } from "../../packages/kernels/src/native/addon-file.ts";
import { bundleProgram } from "../bundle.ts";
import { file, nodeName, type Parts, text } from "./base-files.ts";
import type { LayerEntry } from "./layer.ts";
import { licencesOf } from "./licences.ts";

const root = resolve(import.meta.dirname, "..", "..");
const HOME = "/usr/lib/drayage";
const RESTIC = "usr/bin/restic";

export interface ProgramFiles {
  readonly entries: readonly LayerEntry[];
  /** Compiled files, whose libraries the layer below must have. */
  readonly compiled: readonly string[];
  /** Why there is no native addon; the portable kernels do its work then. */
  readonly withoutAddon?: string;
  /** Why there is no restic; ReplicationSources then need a repository of Kopia's format. */
  readonly withoutRestic?: string;
}

/** Packages with compiled code, which a bundle cannot hold. */
const compiledPackages = (arch: string): readonly string[] => [
  "koffi",
  `@koromix/koffi-linux-${arch}`,
  "@napi-rs/blake-hash",
  `@napi-rs/blake-hash-linux-${arch}-gnu`,
];
/** Of those: what runs, and what permits it. Their sources and builds for other systems stay behind. */
const WANTED_FILE = /(\.(js|cjs|node)|^package\.json|^LICEN[CS]E[^/]*)$/;
const UNWANTED_FOLDER = /^(vendor|doc|musl_.*)$/;

/** Names at which the image's program is found. Velero's are what its own manifests, and movers of every version, start. */
const NAMES: Readonly<Record<string, readonly string[]>> = { "/dray": [], "/velero": [], "/velero-restore-helper": ["restore-helper"] };

/** Bundles the program and gathers what goes with it. Throws, naming it, when a package is missing. */
export async function programFiles(parts: Parts): Promise<ProgramFiles> {
  const arch = nodeName[parts.architecture];
  const modules = compiledPackages(arch).flatMap((name) => packageFiles(parts, name));
  const addon = await nativeAddon(arch);
  const restic = resticFiles(parts);
  const compiled = [...modules.map(({ source }) => source).filter((path) => path.endsWith(".node")), ...("path" in addon ? [addon.path] : [])];
  const folder = mkdtempSync(join(tmpdir(), "drayage-image-"));
  try {
    const directory = join(folder, "bundle");
    const packages = await bundledPackages(directory);
    const entries: LayerEntry[] = [
      // Read now: the folder goes.
      ...filesBelow(directory).map((path) => file(`${HOME}/${relative(directory, path)}`, 0o644, readFileSync(path))),
      ...modules.map(({ target, source }) => file(`${HOME}/node_modules/${target}`, 0o644, { source })),
      ...("path" in addon ? [file(`${HOME}/native/build/${basename(addon.path)}`, 0o755, { source: addon.path })] : []),
      ...Object.entries(NAMES).map(([path, words]) => file(path, 0o755, Buffer.from(launcher(words)))),
      ...restic,
      { path: "/usr/local/bin/dray", type: "symlink", mode: 0o777, target: "/dray" },
      { path: "/usr/local/bin/kubectl-dray", type: "symlink", mode: 0o777, target: "/dray" },
      file("/usr/share/doc/drayage/LICENSE", 0o644, { source: join(root, "LICENSE") }),
      text("/usr/share/doc/drayage/THIRD-PARTY-LICENSES", licencesOf(packages)),
    ];
    return {
      ...{ entries, compiled },
      ...("reason" in addon ? { withoutAddon: addon.reason } : {}),
      ...(restic.length > 0 ? {} : { withoutRestic: `there is no "${RESTIC}" below "${parts.sysroot}": install Debian's package restic there` }),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function bundledPackages(directory: string): Promise<readonly string[]> {
  const packages = new Set<string>();
  await bundleProgram({ directory, dataFiles: "copy", onPackage: (folder) => packages.add(folder) });
  return [...packages].sort();
}

/** There is no shell in the image: the names are programs of Node's own. */
function launcher(words: readonly string[]): string {
  const more = words.length === 0 ? "" : `process.argv.splice(2, 0, ${words.map((word) => JSON.stringify(word)).join(", ")});\n`;
  return `#!/usr/local/bin/node\n"use strict";\n${more}import("${HOME}/main.js").then((program) => program.main());\n`;
}

function packageFiles({ modules, architecture }: Parts, name: string): { readonly target: string; readonly source: string }[] {
  const folder = join(modules, name);
  if (!existsSync(folder))
    throw new Error(
      `Cannot build the image for ${architecture}: the package "${name}" is not in "${modules}" (npm install --os=linux --cpu=${nodeName[architecture]})`,
    );
  return filesBelow(folder)
    .map((source) => ({ target: `${name}/${relative(folder, source)}`, source }))
    .filter(({ source }) => {
      const below = relative(folder, source);
      return (
        WANTED_FILE.test(basename(below)) &&
        !dirname(below)
          .split("/")
          .some((part) => UNWANTED_FOLDER.test(part)) &&
        basename(below) !== "cnoke.cjs"
      );
    });
}

/**
 * restic as Debian builds it, a program without libraries: ReplicationSources are served with it, as by VolSync. Debian keeps it up, says where its sources are, and has it for both
 * architectures, which a build of our own would have to.
 */
function resticFiles({ sysroot }: Parts): LayerEntry[] {
  const [program, copyright] = [join(sysroot, RESTIC), join(sysroot, "usr/share/doc/restic/copyright")];
  if (!existsSync(program)) return [];
  if (!existsSync(copyright)) throw new Error(`Cannot build the image: "${program}" has no licence beside it: "${copyright}" is wanted`);
  return [file("/usr/local/bin/restic", 0o755, { source: program }), file("/usr/share/doc/restic/copyright", 0o644, { source: copyright })];
}

/** The addon of this machine's kind, compiled and tested here. */
async function nativeAddon(arch: string): Promise<{ readonly path: string } | { readonly reason: string }> {
  if (arch !== process.arch) return { reason: `the native addon is compiled and tested on the machine it is for, and this one is ${process.arch}` };
  const prepared = await prepareNative();
  const path = findAddon(addonPlaces());
  return path === undefined ? { reason: prepared.reason ?? "it cannot be found" } : { path };
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
