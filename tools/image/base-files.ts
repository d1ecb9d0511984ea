/**
 * The lower layer: what a Node program needs of a system and no more. The Node binary comes from the npm package of its platform, the libraries that it and the compiled
 * packages ask for (found by reading their ELF files) from Debian's packages on the building machine or in a sysroot, each with its copyright file; no shell, no package manager.
 */
import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, join } from "node:path";
import { elfFacts } from "./elf.ts";
import type { LayerEntry } from "./layer.ts";

/** Where the parts of one architecture are found. */
export interface Parts {
  readonly architecture: "amd64" | "arm64";
  /** A node_modules folder with the packages of that platform. */
  readonly modules: string;
  /** A root folder with Debian's files of that platform: `/` on a machine of it. */
  readonly sysroot: string;
}

/** Who runs in a container when nobody says. */
export const NONROOT = 65_532;

const TRIPLET = { amd64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" } as const;
export const nodeName = { amd64: "x64", arm64: "arm64" } as const;

/** The files of the layer. `loaded` are compiled files of the layer above. Throws, naming it, when a part is missing. */
export function baseFiles(parts: Parts, loaded: readonly string[]): LayerEntry[] {
  const nodePackage = join(parts.modules, `node-linux-${nodeName[parts.architecture]}`);
  const node = join(nodePackage, "bin", "node");
  if (!existsSync(node))
    throw new Error(
      `Cannot build the image for ${parts.architecture}: there is no "${node}" (npm install --cpu=${nodeName[parts.architecture]} node-linux-${nodeName[parts.architecture]})`,
    );
  const libraries = libraryClosure(parts, [node, ...loaded]);
  const packages = new Map([...libraries.values()].map((path) => debianPackageOf(parts, path)).map((found) => [found.name, found]));
  const certificates = mozillaCertificates(parts.sysroot);
  return [
    file("/usr/local/bin/node", 0o755, { source: node }),
    file("/usr/share/doc/node/LICENSE", 0o644, { source: join(nodePackage, "LICENSE") }),
    ...[...libraries].map(([target, source]) => file(target, 0o755, { source })),
    ...[...packages.values()].map(({ name, copyright }) => file(`/usr/share/doc/${name}/copyright`, 0o644, { source: copyright })),
    text(
      "/usr/share/doc/drayage/debian-packages",
      [...packages.values()]
        .map(({ name, version }) => `${name} ${version}\n`)
        .sort()
        .join(""),
    ),
    ...(certificates === undefined
      ? []
      : [
          text("/etc/ssl/certs/ca-certificates.crt", certificates),
          file("/usr/share/doc/ca-certificates/copyright", 0o644, { source: join(parts.sysroot, "usr/share/doc/ca-certificates/copyright") }),
        ]),
    text("/etc/passwd", `root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:${NONROOT}:${NONROOT}:nonroot:/home/nonroot:/sbin/nologin\n`),
    text("/etc/group", `root:x:0:\nnonroot:x:${NONROOT}:\n`),
    text("/etc/nsswitch.conf", "hosts: files dns\n"),
    { path: "/tmp", type: "directory", mode: 0o1777 },
    // Of whoever runs there: clusters choose the user.
    { path: "/home/nonroot", type: "directory", mode: 0o1777 },
    { path: "/root", type: "directory", mode: 0o700 },
  ];
}

export function file(path: string, mode: number, content: Uint8Array | { readonly source: string }): LayerEntry {
  return { path, type: "file", mode, content };
}

export function text(path: string, content: string): LayerEntry {
  return file(path, 0o644, Buffer.from(content));
}

/** The loader and every library, by the path at which the loader looks for it. */
export function libraryClosure(parts: Parts, programs: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  const waiting = [...programs];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const facts = elfFacts(readFileSync(path));
    if (facts === undefined || facts.machine !== parts.architecture)
      throw new Error(`Cannot build the image: "${path}" is not a program for ${parts.architecture}`);
    // The loader is asked for by its path, and by its name as a library too: it is the same.
    const names = facts.needed.filter((name) => !name.startsWith("ld-linux"));
    const wanted = [...names.map((name) => `/lib/${TRIPLET[parts.architecture]}/${name}`), ...(facts.interpreter === undefined ? [] : [facts.interpreter])];
    for (const target of wanted) {
      if (found.has(target)) continue;
      const source = locate(parts, target);
      if (source === undefined)
        throw new Error(`Cannot build the image for ${parts.architecture}: "${basename(target)}", which "${path}" needs, is not below "${parts.sysroot}"`);
      found.set(target, source);
      waiting.push(source);
    }
  }
  return found;
}

function locate({ sysroot, architecture }: Parts, target: string): string | undefined {
  const folders = [`lib/${TRIPLET[architecture]}`, `usr/lib/${TRIPLET[architecture]}`, "lib", "usr/lib", "lib64"];
  const path = [join(sysroot, target), ...folders.map((folder) => join(sysroot, folder, basename(target)))].find((candidate) => existsSync(candidate));
  return path === undefined ? undefined : realpathSync(path);
}

interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly copyright: string;
}

/** The package that a library is of; its licence goes where it goes. */
function debianPackageOf({ sysroot }: Parts, path: string): DebianPackage {
  const admin = existsSync(join(sysroot, "var/lib/dpkg/status")) ? ["--admindir", join(sysroot, "var/lib/dpkg")] : [];
  const inside = sysroot === "/" || admin.length === 0 ? path : path.slice(sysroot.replace(/\/$/, "").length);
  // Where /lib is a link into /usr, packages of before name their files without /usr.
  for (const candidate of [inside, inside.replace(/^\/usr/, "")]) {
    try {
      const options: ExecFileSyncOptionsWithStringEncoding = { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] };
      const name = execFileSync("dpkg-query", [...admin, "--search", candidate], options).split(":", 1)[0] ?? "";
      // NAME[:ARCH] TAB VERSION.
      const version =
        execFileSync("dpkg-query", [...admin, "--show", name], options)
          .split("\n", 1)[0]
          ?.split("\t")[1] ?? "";
      const copyright = [join(sysroot, "usr/share/doc", name, "copyright"), join("/usr/share/doc", name, "copyright")].find((candidate) =>
        existsSync(candidate),
      );
      if (copyright !== undefined) return { name, version, copyright: realpathSync(copyright) };
    } catch {
      // Not under this name.
    }
  }
  throw new Error(`Cannot build the image: "${path}" belongs to no Debian package, so that its licence is not known; build on Debian, or give --sysroot`);
}

/** What Debian's package brings, not what the machine's administrator added to it. */
function mozillaCertificates(sysroot: string): string | undefined {
  const folder = join(sysroot, "usr/share/ca-certificates/mozilla");
  if (!existsSync(folder)) return undefined;
  return readdirSync(folder)
    .filter((name) => name.endsWith(".crt"))
    .sort()
    .map((name) => `${readFileSync(join(folder, name), "latin1").trim()}\n`)
    .join("");
}
