import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { DrayError, messageOf } from "@drayage/base";

/** Whether pods need user namespaces, because this process is not root. */
export function isRootless(): boolean {
  return process.getuid?.() !== 0;
}

/** Tries what every container needs. Throws NOT_PERMITTED, naming what the machine would have to permit. */
export async function checkNamespaces(rootless: boolean = isRootless()): Promise<void> {
  const flags = [...(rootless ? ["--user", "--map-root-user"] : []), "--mount", "--uts", "--ipc", "--pid", "--fork", "--propagation", "slave"];
  try {
    await promisify(execFile)("unshare", [...flags, "/bin/sh", "-c", "mount -t tmpfs tmpfs /tmp"], { timeout: 10_000 });
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    throw new DrayError(
      "NOT_PERMITTED",
      `Cannot run pods on this machine: ${missing ? 'the program "unshare" is not installed' : "namespaces are not permitted"}`,
      {
        cause: error,
        context: { cause: messageOf(error).trim().split("\n").at(-1) },
        hint: missing
          ? "Install util-linux."
          : rootless
            ? "Run as root, or permit user namespaces: sysctl user.max_user_namespaces=10000, and where the kernel has them kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0."
            : "Grant CAP_SYS_ADMIN: in Docker, --privileged (or --cap-add SYS_ADMIN --security-opt apparmor=unconfined --security-opt seccomp=unconfined).",
      },
    );
  }
}
