/** The process of one node: its CSI driver and its kubelet. */
import { existsSync } from "node:fs";
import { type Clock, DrayError, type Logger, messageOf, type RandomSource } from "@drayage/base";
import { createKubeClient } from "@drayage/kube";
import { startCsiDriver } from "../csi-driver/index.ts";
import { type ImageMapping, startKubelet } from "../kubelet/index.ts";
import { ClusterDirectory } from "./cluster-directory.ts";
import { CONTROL_PLANE } from "./cluster-up.ts";
import { profileDriver, tenantReader } from "./profile-drivers.ts";
import { awaitRoles, reportState, untilAborted } from "./role-process.ts";

export interface RunNodeOptions {
  readonly directory: string;
  readonly nodeName: string;
  readonly imageMap: readonly ImageMapping[];
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Called when others have been told that it is ready. */
  readonly onReady?: () => void;
}

const CONTROL_PLANE_MS = 60_000;

/** Runs until the signal is aborted; its containers go on then, for `clusterDown` to end or the next process of this node to find. */
export async function runNode(options: RunNodeOptions): Promise<void> {
  const { clock, random, logger, nodeName, signal } = options;
  const directory = ClusterDirectory.find(options.directory);
  const endings: (() => Promise<void>)[] = [];
  try {
    const { kubelet: kubeletDirectory, csiSocket, profileSocket } = directory.node(nodeName);
    const driver = await startCsiDriver({ socketPath: csiSocket, stateDirectory: directory.storage, nodeName, clock, random, logger });
    endings.push(() => driver.stop());
    const facts = await awaitRoles(directory, [CONTROL_PLANE], { clock, timeoutMs: CONTROL_PLANE_MS, signal });
    const server = new URL(String(facts.get(CONTROL_PLANE)?.["server"]));
    const client = createKubeClient({ kubeconfigPath: directory.kubeconfigPath, clock, random, logger, userAgent: `kubelet/${nodeName}`, qps: 0 });
    endings.push(() => client.close());
    const csiSockets = [driver.socketPath];
    for (const profile of directory.settings()?.csiProfiles ?? []) {
      const tenants = tenantReader(client);
      const further = await startCsiDriver({
        ...profileDriver(directory, profile),
        socketPath: profileSocket(profile),
        nodeName,
        tenants,
        clock,
        random,
        logger,
      });
      endings.push(() => further.stop());
      csiSockets.push(further.socketPath);
    }
    const caPem = client.connection.ca;
    if (caPem === undefined) throw new DrayError("KUBE_CONFIG", `Cannot start node "${nodeName}": the kubeconfig names no certificate authority`);
    const kubelet = await startKubelet({
      nodeName,
      client,
      directory: kubeletDirectory,
      csiSockets,
      imageMap: [...(directory.settings()?.imageMap ?? []), ...options.imageMap],
      token: directory.kubeletToken(),
      apiServer: { host: server.hostname, port: Number(server.port), caPem },
      clock,
      random,
      logger,
    });
    endings.push(() => kubelet.stop());
    reportState(directory, nodeName, { state: "ready", facts: { port: kubelet.port } });
    options.onReady?.();
    await untilAborted(signal);
  } catch (error) {
    if (signal.aborted || !existsSync(directory.settingsPath)) return;
    const hint = error instanceof DrayError ? error.hint : undefined;
    reportState(directory, nodeName, { state: "failed", message: messageOf(error), ...(hint === undefined ? {} : { hint }) });
    throw error;
  } finally {
    for (const end of endings.reverse()) await end();
  }
}
