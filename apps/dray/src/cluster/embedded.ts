/** How the commands of this program start and find the embedded cluster. */
import { statSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { DrayError } from "@drayage/base";
import type { ClusterRole, RoleCommand } from "@drayage/embedded/cluster";
import type { ImageMapping } from "@drayage/embedded/kubelet";
import { programMain } from "../roles/embedded-image.ts";
import type { Terminal } from "../terminal.ts";

/** The folder of a cluster when none is given. */
export function clusterFolder(dir: string | undefined, { env, cwd }: Pick<Terminal, "env" | "cwd">): string {
  if (dir !== undefined) return resolve(cwd, dir);
  return join(env["XDG_STATE_HOME"] ?? join(env["HOME"] ?? homedir(), ".local", "state"), "drayage", "cluster");
}

/** A role is this program again: the same Node, started directly, so that a signal reaches it and nothing else. */
export function roleCommand(role: ClusterRole, env: Terminal["env"], main: string = programMain): RoleCommand {
  const words = role.role === "node" ? ["embedded", "node", "--name", role.nodeName] : ["embedded", "control-plane"];
  return {
    command: process.execPath,
    args: [main, ...words, "--dir", role.directory],
    // A cache of compiled code would be written when the process ends, which costs more than it gains a process that is started once.
    env,
  };
}

/** `PATTERN=HOSTPATH[:PATH]`: the host's file or folder at that path of the image's containers; a folder also in their PATH. Throws USAGE. */
export function parseImageMap(text: string): ImageMapping {
  const [, pattern, source, target] = /^([^=]+)=(\/[^:]*)(?::(\/.*))?$/.exec(text) ?? [];
  const stat = source === undefined ? undefined : statSync(source, { throwIfNoEntry: false });
  if (pattern === undefined || source === undefined || stat === undefined) {
    const wanted = source === undefined ? "PATTERN=/HOST/PATH or PATTERN=/HOST/PATH:/PATH is wanted" : `there is no "${source}" on this machine`;
    throw new DrayError("USAGE", `Cannot map images by "${text}": ${wanted}`, {
      hint: 'For example --image-map "velero/velero:*=/opt/velero/bin/velero:/velero".',
    });
  }
  const at = target ?? source;
  return { pattern, mounts: [{ source, target: at, readOnly: true }], ...(stat.isDirectory() ? { path: [at] } : {}) };
}
