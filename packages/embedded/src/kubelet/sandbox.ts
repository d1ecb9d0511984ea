/**
 * What the private root of a container consists of, worked out from the host's folders before anything is made or mounted.
 *
 * The root is a folder of the container's own: what it writes outside its volumes is there. The host's system folders are bound into it read-only, `/dev` has the
 * harmless devices only, and volumes are bound at their paths. A path that a volume needs inside a read-only folder (`/etc/app`) is made possible by putting a folder of
 * the container's own over the nearest one that exists and binding that one's children back: it needs no overlay file system and works without root.
 *
 * Invariants: every mount point is canonical in the new root (no symbolic link on the way), so that a mount can never land on the host's side of an absolute link;
 * folders, files and links are made on the host before the first mount, so that putting a root together takes no process but for its mounts; mounts are in order.
 */
import { chmodSync, closeSync, lstatSync, mkdirSync, openSync, readdirSync, readlinkSync, statSync, symlinkSync } from "node:fs";
import { posix } from "node:path";
import { DrayError } from "@drayage/base";

/** Something of the host that appears in the container. */
export interface SandboxMount {
  /** Host path: a folder, a file or a device node. */
  readonly source: string;
  /** Absolute path in the container. */
  readonly target: string;
  readonly readOnly: boolean;
}

export interface SandboxSpec {
  /** Host folder of the container's own. */
  readonly directory: string;
  readonly mounts: readonly SandboxMount[];
}

/** Something to be made on the host; `path` is the host's. */
export type SandboxEntry =
  | { readonly make: "directory"; readonly path: string; readonly mode: number }
  | { readonly make: "file"; readonly path: string }
  | { readonly make: "link"; readonly path: string; readonly target: string };

/** Something to be mounted; `path` is the container's. */
export type SandboxStep =
  | { readonly mount: "bind"; readonly source: string; readonly path: string; readonly readOnly: boolean }
  | { readonly mount: "proc"; readonly path: string }
  | { readonly mount: "devpts"; readonly path: string };

export interface SandboxPlan {
  /** The host folder that becomes the root. */
  readonly root: string;
  readonly entries: readonly SandboxEntry[];
  readonly steps: readonly SandboxStep[];
}

export type HostKind = "directory" | "file" | "device" | "link" | "absent";

/** The host's file system, as far as planning looks at it. */
export interface HostView {
  kind(path: string): HostKind;
  readLink(path: string): string;
  children(path: string): readonly string[];
}

/** Bound read-only where the host has them; a symbolic link on the host stays one. */
const SYSTEM_FOLDERS = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix", "sys"] as const;

/** Folders that every container has for itself. */
const OWN_FOLDERS: Readonly<Record<string, number>> = {
  "/tmp": 0o1777,
  "/home": 0o755,
  "/root": 0o700,
  "/srv": 0o755,
  "/mnt": 0o755,
  "/run": 0o755,
  "/run/lock": 0o1777,
  "/var": 0o755,
  "/var/cache": 0o755,
  "/var/lib": 0o755,
  "/var/log": 0o755,
  "/var/spool": 0o755,
  "/var/tmp": 0o1777,
  "/proc": 0o555,
  "/dev": 0o755,
  "/dev/pts": 0o755,
  "/dev/shm": 0o1777,
};

const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"] as const;
const LINK_DEPTH_MAX = 40;

/** Plans the root. Throws NOT_SUPPORTED when a volume's path cannot be made. */
export function planSandbox(spec: SandboxSpec, host: HostView = realHost): SandboxPlan {
  const plan = new Planner(spec.directory, host);
  for (const [path, mode] of Object.entries(OWN_FOLDERS)) plan.directory(path, mode);
  for (const name of SYSTEM_FOLDERS) {
    const kind = host.kind(`/${name}`);
    if (kind === "link") plan.link(`/${name}`, host.readLink(`/${name}`));
    else if (kind === "directory") plan.bind({ source: `/${name}`, target: `/${name}`, readOnly: true });
  }
  plan.link("/var/run", "../run");
  plan.link("/var/lock", "../run/lock");
  plan.steps.push({ mount: "proc", path: "/proc" });
  for (const name of DEVICES) {
    if (host.kind(`/dev/${name}`) === "device") plan.bind({ source: `/dev/${name}`, target: `/dev/${name}`, readOnly: false });
  }
  plan.steps.push({ mount: "devpts", path: "/dev/pts" });
  plan.link("/dev/ptmx", "pts/ptmx");
  plan.link("/dev/fd", "/proc/self/fd");
  for (const [number, name] of ["stdin", "stdout", "stderr"].entries()) plan.link(`/dev/${name}`, `/proc/self/fd/${number}`);
  for (const mount of [...spec.mounts].sort((a, b) => depth(a.target) - depth(b.target))) plan.bind(mount);
  return plan;
}

/** Makes what a plan says. */
export function makeEntries(entries: readonly SandboxEntry[]): void {
  for (const entry of entries) {
    if (entry.make === "link") symlinkSync(entry.target, entry.path);
    else if (entry.make === "file") closeSync(openSync(entry.path, "a"));
    else {
      mkdirSync(entry.path, { recursive: true });
      // mkdir is subject to the umask, and a sticky folder for all must be just that.
      chmodSync(entry.path, entry.mode);
    }
  }
}

/** A folder of the host that begins at a path of the container. */
interface Area {
  readonly path: string;
  readonly source: string;
  readonly writable: boolean;
}

/** The root as it would stand after what is planned so far. */
class Planner implements SandboxPlan {
  readonly root: string;
  readonly entries: SandboxEntry[] = [];
  readonly steps: SandboxStep[] = [];
  readonly #directory: string;
  readonly #host: HostView;
  #areas: readonly Area[];
  readonly #links = new Map<string, string>();
  readonly #made = new Map<string, "directory" | "file">();
  #shadows = 0;

  constructor(directory: string, host: HostView) {
    this.#directory = directory;
    this.#host = host;
    this.root = posix.join(directory, "root");
    this.#areas = [{ path: "/", source: this.root, writable: true }];
    this.directory("/", 0o755);
  }

  directory(path: string, mode = 0o755): void {
    for (let at = path; at !== "/" && !this.#made.has(at); at = posix.dirname(at)) this.#made.set(at, "directory");
    this.#made.set("/", "directory");
    this.entries.push({ make: "directory", path: this.#onHost(path), mode });
  }

  link(path: string, target: string): void {
    this.#links.set(path, target);
    this.entries.push({ make: "link", path: this.#onHost(path), target });
  }

  bind(mount: SandboxMount): void {
    const kind = this.#host.kind(mount.source);
    if (kind === "absent" || kind === "link") {
      throw new DrayError("NOT_SUPPORTED", `Cannot mount "${mount.source}" at "${mount.target}": the source is ${kind}, a folder, file or device is wanted`);
    }
    const path = this.#resolve(mount.target);
    if (path === "/") throw new DrayError("NOT_SUPPORTED", `Cannot mount "${mount.source}" at "/": the container's root cannot be replaced`);
    this.#ensure(path, kind === "directory" ? "directory" : "file");
    this.#mount({ path, source: mount.source, writable: !mount.readOnly }, kind === "directory");
  }

  /** Makes `path` exist as a mount point. */
  #ensure(path: string, kind: "directory" | "file"): void {
    const there = this.#kind(path);
    if (kind === "directory" ? there === "directory" : there === "file" || there === "device") return;
    if (there !== "absent") {
      throw new DrayError("NOT_SUPPORTED", `Cannot mount at "${path}": the container has a ${there} there, a ${kind} is wanted`);
    }
    let nearest = posix.dirname(path);
    while (this.#kind(nearest) === "absent") nearest = posix.dirname(nearest);
    if (!this.#areaOf(nearest).writable) this.#shadow(nearest);
    if (kind === "directory") this.directory(path);
    else {
      if (nearest !== posix.dirname(path)) this.directory(posix.dirname(path));
      this.#file(path);
    }
  }

  #file(path: string): void {
    this.#made.set(path, "file");
    this.entries.push({ make: "file", path: this.#onHost(path) });
  }

  /** Puts a writable folder over a read-only one and shows that one's children in it. */
  #shadow(path: string): void {
    const shown = this.#onHost(path);
    const source = posix.join(this.#directory, "shadow", String(this.#shadows++));
    this.entries.push({ make: "directory", path: source, mode: 0o755 });
    this.#mount({ path, source, writable: true }, true);
    for (const name of this.#host.children(shown)) {
      const from = posix.join(shown, name);
      const to = posix.join(path, name);
      const kind = this.#host.kind(from);
      if (kind === "link") this.link(to, this.#host.readLink(from));
      else if (kind !== "absent") {
        if (kind === "directory") this.directory(to);
        else this.#file(to);
        this.#mount({ path: to, source: from, writable: false }, kind === "directory");
      }
    }
  }

  /** A mounted folder hides everything that was planned below its path; a file or device hides nothing. */
  #mount(area: Area, isFolder: boolean): void {
    this.steps.push({ mount: "bind", source: area.source, path: area.path, readOnly: !area.writable });
    if (!isFolder) return;
    const below = (other: string): boolean => other.startsWith(`${area.path}/`);
    for (const made of [...this.#made.keys()]) if (below(made)) this.#made.delete(made);
    for (const link of [...this.#links.keys()]) if (below(link)) this.#links.delete(link);
    this.#areas = [...this.#areas.filter(({ path }) => !below(path) && path !== area.path), area];
  }

  #areaOf(path: string): Area {
    return this.#areas.reduce((best, area) => (contains(area.path, path) && area.path.length >= best.path.length ? area : best));
  }

  #onHost(path: string): string {
    const area = this.#areaOf(path);
    return posix.join(area.source, posix.relative(area.path, path));
  }

  #kind(path: string): HostKind {
    if (this.#links.has(path)) return "link";
    return this.#made.get(path) ?? this.#host.kind(this.#onHost(path));
  }

  #resolve(path: string): string {
    let rest = path.split("/").filter((part) => part !== "" && part !== ".");
    let at = "/";
    for (let links = 0; rest.length > 0; ) {
      const [part = "", ...others] = rest;
      rest = others;
      if (part === "..") {
        at = posix.dirname(at);
        continue;
      }
      const next = posix.join(at, part);
      if (this.#kind(next) !== "link") {
        at = next;
        continue;
      }
      if (++links > LINK_DEPTH_MAX) throw new DrayError("NOT_SUPPORTED", `Cannot mount at "${path}": more than ${LINK_DEPTH_MAX} symbolic links on the way`);
      const target = this.#links.get(next) ?? this.#host.readLink(this.#onHost(next));
      if (target.startsWith("/")) at = "/";
      rest = [...target.split("/").filter((word) => word !== "" && word !== "."), ...rest];
    }
    return at;
  }
}

function contains(folder: string, path: string): boolean {
  return folder === "/" || path === folder || path.startsWith(`${folder}/`);
}

function depth(path: string): number {
  return posix.normalize(path).split("/").filter(Boolean).length;
}

export const realHost: HostView = {
  kind(path) {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return "absent";
    if (stat.isSymbolicLink()) return "link";
    if (stat.isDirectory()) return "directory";
    return stat.isBlockDevice() || stat.isCharacterDevice() ? "device" : "file";
  },
  readLink: (path) => readlinkSync(path),
  children(path) {
    // A folder that this user may not list is shown empty, as it would look from inside.
    try {
      return statSync(path).isDirectory() ? readdirSync(path).sort() : [];
    } catch {
      return [];
    }
  },
};
