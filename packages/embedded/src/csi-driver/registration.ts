/** How the driver makes itself known to a real kubelet; the embedded one is given its socket. */
import { join } from "node:path";
import type { Logger } from "@drayage/base";
import { serveRegistration } from "@drayage/protocols/kubelet";
import type { CsiDriver } from "./driver.ts";

export interface Registration {
  /** Takes the driver off the node: its volumes can be mounted no longer. */
  stop(): Promise<void>;
}

/** The version of CSI that the driver speaks, in the form the kubelet compares. */
const VERSION = "1.0.0";

/**
 * Offers the driver in the folder that the kubelet watches (`/var/lib/kubelet/plugins_registry`), which must exist. Whether the kubelet takes it stands in the log; it tries
 * again by itself when it could not reach the driver. Throws NOT_PERMITTED when another process offers a driver of this name there.
 */
export function registerDriver(driver: Pick<CsiDriver, "name" | "socketPath">, registryFolder: string, logger: Logger): Promise<Registration> {
  const info = { type: "CSIPlugin", name: driver.name, endpoint: driver.socketPath, supportedVersions: [VERSION] } as const;
  return serveRegistration(join(registryFolder, `${driver.name}-reg.sock`), info, ({ pluginRegistered, error }) => {
    if (pluginRegistered) logger.info("The kubelet has taken the driver", { driver: driver.name });
    else logger.error("The kubelet refuses the driver", { driver: driver.name, error });
  });
}
