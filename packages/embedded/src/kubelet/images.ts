/**
 * What stands behind an image on a machine without images: the host's own programs. A map says which images have something of their own (our program, a real Velero),
 * and which are to be missing, so that a failed pull can be had for a test. Every other image runs its command with the tools of the host.
 */
import type { SandboxMount } from "./sandbox.ts";

export interface ImageMapping {
  /** Compared with the image as written and in full (`busybox` is `docker.io/library/busybox:latest`); `*` stands for any text. */
  readonly pattern: string;
  /** The image cannot be pulled. */
  readonly missing?: boolean;
  /** Runs when the container names no command; `args` follow it. */
  readonly entrypoint?: readonly string[];
  /** Host folders and files that the image's containers see. */
  readonly mounts?: readonly SandboxMount[];
  /** Below what the pod sets. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Folders that come first in PATH, whatever the pod sets. */
  readonly path?: readonly string[];
}

/** Behind every map: an image called `missing` in any registry cannot be pulled, and the pause image sleeps. */
const BUILT_IN: readonly ImageMapping[] = [
  { pattern: "*/missing:*", missing: true },
  { pattern: "*/pause:*", entrypoint: ["sleep", "infinity"] },
];

/** The first mapping that fits; one that adds nothing when none does. */
export function findImage(image: string, map: readonly ImageMapping[]): ImageMapping {
  const names = [image, fullName(image)];
  return [...map, ...BUILT_IN].find((mapping) => names.some((name) => fits(mapping.pattern, name))) ?? { pattern: image };
}

function fits(pattern: string, name: string): boolean {
  const source = pattern
    .split("*")
    .map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"))
    .join(".*");
  return new RegExp(`^${source}$`, "s").test(name);
}

function fullName(image: string): string {
  const slash = image.indexOf("/");
  const first = slash === -1 ? "" : image.slice(0, slash);
  const hasHost = first.includes(".") || first.includes(":") || first === "localhost";
  const named = hasHost ? image : `docker.io/${slash === -1 ? "library/" : ""}${image}`;
  const rest = named.slice(named.lastIndexOf("/") + 1);
  return rest.includes(":") || rest.includes("@") ? named : `${named}:latest`;
}

/** Kubernetes' default: a tag that moves is asked for each time. */
export function pullPolicyOf(image: string, policy: string | undefined): "Always" | "IfNotPresent" | "Never" {
  if (policy === "Always" || policy === "IfNotPresent" || policy === "Never") return policy;
  return fullName(image).endsWith(":latest") ? "Always" : "IfNotPresent";
}
