/**
 * What the private root of a container consists of, as a list of steps, worked out from the host's folders before anything is mounted.
 *
 * The root is a tmpfs. The host's system folders are bound into it read-only, `/tmp`, `/var`, `/home` and the like are folders of the container's own on disk,
 * `/dev` has the harmless devices only, and volumes are bound at their paths. A path that a volume needs inside a read-only folder (`/etc/app`) is made possible
 * by putting a tmpfs over the nearest folder that exists and binding that folder's children back: it needs no overlay file system and works without root.
 *
 * Invariants: every path of a step is canonical in the new root (no symbolic link on the way), so that a mount can never land on the host's side of an absolute link;
 * sources are host paths; steps are carried out in order.
 */
import { lstatSync, readdirSync, readlinkSync, statSync } from "node:fs";
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
  /** Host folder of the container's own; `rw/` below it holds what the container writes outside its volumes. */
  readonly directory: string;
  readonly mounts: readonly SandboxMount[];
}

export type SandboxStep =
  | { readonly do: "directory"; readonly path: string; readonly mode?: string }
  | { readonly do: "file"; readonly path: string }
  | { readonly do: "link"; readonly path: string; readonly target: string }
  | { readonly do: "bind"; readonly source: string; readonly path: string; readonly readOnly: boolean }
  | { readonly do: "tmpfs"; readonly path: string; readonly mode: string }
  | { readonly do: "proc"; readonly path: string }
  | { readonly do: "devpts"; readonly path: string };

export type HostKind = "directory" | "file" | "device" | "link" | "absent";

/** The host's file system, as far as planning looks at it. */
export interface HostView {
  kind(path: string): HostKind;
  readLink(path: string): string;
  children(path: string): readonly string[];
}

/** Bound read-only where the host has them; a symbolic link on the host stays one. */
const SYSTEM_FOLDERS = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix", "sys"] as const;

/** Folders of the container's own on disk, below `rw/`, with their modes. */
export const WRITABLE_FOLDERS: Readonly<Record<string, string>> = {
  tmp: "1777",
  home: "0755",
  root: "0700",
  srv: "0755",
  mnt: "0755",
  var: "0755",
  "var/cache": "0755",
  "var/lib": "0755",
  "var/log": "0755",
  "var/spool": "0755",
  "var/tmp": "1777",
};

const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"] as const;
const LINK_DEPTH_MAX = 40;

/** Plans the root. Throws NOT_SUPPORTED when a volume's path cannot be made. */
export function planSandbox(spec: SandboxSpec, host: HostView = realHost): readonly SandboxStep[] {
  const plan = new SandboxPlan(host);
  for (const name of SYSTEM_FOLDERS) {
    const kind = host.kind(`/${name}`);
    if (kind === "link") plan.link(`/${name}`, host.readLink(`/${name}`));
    else if (kind === "directory") plan.bind({ source: `/${name}`, target: `/${name}`, readOnly: true });
  }
  for (const name of Object.keys(WRITABLE_FOLDERS)) {
    if (!name.includes("/")) plan.bind({ source: posix.join(spec.directory, "rw", name), target: `/${name}`, readOnly: false });
  }
  plan.directory("/run/lock", "1777");
  // Relative, so that they mean the same while the root is being put together.
  plan.link("/var/run", "../run");
  plan.link("/var/lock", "../run/lock");
  plan.proc("/proc");
  plan.devices();
  const byDepth = [...spec.mounts].sort((a, b) => depth(a.target) - depth(b.target));
  for (const mount of byDepth) plan.bind(mount);
  return plan.steps;
}

interface Area {
  /** Where it begins in the container. */
  readonly path: string;
  /** The host path it shows; undefined for a tmpfs. */
  readonly source?: string;
  readonly writable: boolean;
}

/** The root as it would stand after the steps so far. */
class SandboxPlan {
  readonly steps: SandboxStep[] = [];
  readonly #host: HostView;
  readonly #areas: Area[] = [{ path: "/", writable: true }];
  readonly #links = new Map<string, string>();
  readonly #made = new Set<string>(["/"]);

  constructor(host: HostView) {
    this.#host = host;
  }

  directory(path: string, mode?: string): void {
    for (let at = path; at !== "/"; at = posix.dirname(at)) this.#made.add(at);
    this.steps.push(mode === undefined ? { do: "directory", path } : { do: "directory", path, mode });
  }

  link(path: string, target: string): void {
    this.#links.set(path, target);
    this.steps.push({ do: "link", path, target });
  }

  proc(path: string): void {
    this.directory(path);
    this.steps.push({ do: "proc", path });
  }

  devices(): void {
    this.directory("/dev");
    this.#tmpfs("/dev", "0755");
    for (const name of DEVICES) {
      if (this.#host.kind(`/dev/${name}`) === "device") this.bind({ source: `/dev/${name}`, target: `/dev/${name}`, readOnly: false });
    }
    this.directory("/dev/pts");
    this.steps.push({ do: "devpts", path: "/dev/pts" });
    this.directory("/dev/shm");
    this.#tmpfs("/dev/shm", "1777");
    this.link("/dev/ptmx", "pts/ptmx");
    this.link("/dev/fd", "/proc/self/fd");
    for (const [number, name] of ["stdin", "stdout", "stderr"].entries()) this.link(`/dev/${name}`, `/proc/self/fd/${number}`);
  }

  bind(mount: SandboxMount): void {
    const kind = this.#host.kind(mount.source);
    if (kind === "absent" || kind === "link") {
      throw new DrayError("NOT_SUPPORTED", `Cannot mount "${mount.source}" at "${mount.target}": the source is ${kind}, a folder, file or device is wanted`);
    }
    const path = this.#resolve(mount.target);
    if (path === "/") throw new DrayError("NOT_SUPPORTED", `Cannot mount "${mount.source}" at "/": the container's root cannot be replaced`);
    this.#ensure(path, kind === "directory" ? "directory" : "file");
    this.steps.push({ do: "bind", source: mount.source, path, readOnly: mount.readOnly });
    this.#area({ path, source: mount.source, writable: !mount.readOnly && kind === "directory" });
  }

  /** Makes `path` exist as a mount point. */
  #ensure(path: string, kind: "directory" | "file"): void {
    const there = this.#kind(path);
    const fits = kind === "directory" ? there === "directory" : there === "file" || there === "device";
    if (fits) return;
    if (there !== "absent") {
      throw new DrayError("NOT_SUPPORTED", `Cannot mount at "${path}": the container has a ${there} there, a ${kind} is wanted`);
    }
    let nearest = posix.dirname(path);
    while (this.#kind(nearest) === "absent") nearest = posix.dirname(nearest);
    const area = this.#areaOf(nearest);
    if (!area.writable) this.#shadow(nearest, hostPathIn(area, nearest));
    if (kind === "directory") this.directory(path);
    else {
      if (nearest !== posix.dirname(path)) this.directory(posix.dirname(path));
      this.#made.add(path);
      this.steps.push({ do: "file", path });
    }
  }

  /** Puts a writable tmpfs over a read-only folder and shows the folder's children in it. */
  #shadow(path: string, source: string): void {
    this.#tmpfs(path, "0755");
    for (const name of this.#host.children(source)) {
      const from = posix.join(source, name);
      const to = posix.join(path, name);
      const kind = this.#host.kind(from);
      if (kind === "link") this.link(to, this.#host.readLink(from));
      else if (kind !== "absent") {
        if (kind === "directory") this.directory(to);
        else this.steps.push({ do: "file", path: to });
        this.steps.push({ do: "bind", source: from, path: to, readOnly: true });
        this.#area({ path: to, source: from, writable: false });
      }
    }
  }

  #tmpfs(path: string, mode: string): void {
    this.steps.push({ do: "tmpfs", path, mode });
    this.#area({ path, writable: true });
  }

  /** A new area hides everything that was planned below its path. */
  #area(area: Area): void {
    const below = (other: string): boolean => other.startsWith(`${area.path}/`);
    for (const made of this.#made) if (below(made)) this.#made.delete(made);
    for (const link of this.#links.keys()) if (below(link) || link === area.path) this.#links.delete(link);
    const kept = this.#areas.filter((other) => !below(other.path) && other.path !== area.path);
    this.#areas.splice(0, this.#areas.length, ...kept, area);
    this.#made.add(area.path);
  }

  #areaOf(path: string): Area {
    return this.#areas.reduce((best, area) => (contains(area.path, path) && area.path.length >= best.path.length ? area : best));
  }

  #kind(path: string): HostKind {
    if (this.#links.has(path)) return "link";
    const area = this.#areaOf(path);
    if (area.source === undefined) return this.#made.has(path) ? (this.#isFile(path) ? "file" : "directory") : "absent";
    const there = this.#host.kind(hostPathIn(area, path));
    return there === "absent" && this.#made.has(path) ? (this.#isFile(path) ? "file" : "directory") : there;
  }

  #isFile(path: string): boolean {
    return this.steps.some((step) => step.do === "file" && step.path === path);
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
      const target = this.#links.get(next) ?? this.#host.readLink(hostPathIn(this.#areaOf(next), next));
      if (target.startsWith("/")) at = "/";
      rest = [...target.split("/").filter((word) => word !== "" && word !== "."), ...rest];
    }
    return at;
  }
}

function hostPathIn(area: Area, path: string): string {
  return posix.join(area.source ?? "/", posix.relative(area.path, path));
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
