import { readFileSync } from "node:fs";

/** What this process may do on its machine, which decides how volumes can be offered. */
export interface HostAbilities {
  /** Bind mounts; otherwise a published volume is a symbolic link to its folder. */
  readonly mount: boolean;
  /** Loop devices, and with them block volumes and volumes with a file system of their own. */
  readonly loopDevices: boolean;
}

/** Bit of CAP_SYS_ADMIN in the capability masks of /proc/self/status (capabilities(7)). */
const CAP_SYS_ADMIN = 21n;

/** Loop devices belong to the machine, so a user namespace in which one is only called root does not do. */
export function detectHostAbilities(): HostAbilities {
  const status = readFileSync("/proc/self/status", "utf8");
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const mount = (effective & (1n << CAP_SYS_ADMIN)) !== 0n;
  return { mount, loopDevices: mount && inInitialUserNamespace() };
}

function inInitialUserNamespace(): boolean {
  const [inside, outside, count] = readFileSync("/proc/self/uid_map", "utf8").trim().split(/\s+/);
  return inside === "0" && outside === "0" && count === "4294967295";
}
