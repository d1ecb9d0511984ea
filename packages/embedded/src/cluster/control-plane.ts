/** The process of the control plane: API server, controllers of workloads and volumes, and the object store when the cluster has one. */
import { loadCrds } from "@drayage/api";
import { type Clock, DrayError, forEachLimit, hasCode, type Logger, messageOf, type RandomSource } from "@drayage/base";
import { createKubeClient, customResourceDefinitions, type KubeClient, type KubeObject, type ResourceType } from "@drayage/kube";
import { startApiServer } from "../api-server/index.ts";
import { type CsiDriver, type CsiProfile, createCsiControllerClient, startCsiDriver } from "../csi-driver/index.ts";
import { startObjectStore } from "../object-store/index.ts";
import {
  announce,
  defaultStorageManifests,
  profileManifests,
  type StorageDriver,
  startSnapshotMetadataGateway,
  startVolumeControllers,
} from "../volumes/index.ts";
import { startWorkloads } from "../workloads/index.ts";
import { ClusterDirectory, writeFileAtomically } from "./cluster-directory.ts";
import { CONTROL_PLANE, storeKeys } from "./cluster-up.ts";
import { profileDriver, tenantReader } from "./profile-drivers.ts";
import { reportState, untilAborted } from "./role-process.ts";

export interface RunControlPlaneOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Called when others have been told that it is ready. */
  readonly onReady?: () => void;
}

const NODE_LEASE_NAMESPACE = "kube-node-lease";
const INSTALL_PARALLEL = 4;
/** The API server settles a definition within this, or something is wrong. */
const ESTABLISH_MS = 10_000;

/** Runs until the signal is aborted. Its state is in the folder, so the next start goes on with it. */
export async function runControlPlane(options: RunControlPlaneOptions): Promise<void> {
  const { clock, random, logger, signal } = options;
  const directory = ClusterDirectory.find(options.directory);
  const endings: (() => Promise<void>)[] = [];
  const deps = { clock, random, logger };
  try {
    const settings = directory.settings();
    if (settings === undefined) throw new DrayError("PATH_NOT_FOUND", `Cannot start the control plane of "${directory.path}": there is no cluster.json`);
    const auditLog = settings.audit === true ? { auditLog: directory.auditLog } : {};
    const api = await startApiServer({ directory: directory.apiServer, port: settings.apiPort, ...auditLog, ...deps });
    endings.push(() => api.close());
    writeFileAtomically(directory.kubeconfigPath, api.adminKubeconfig());
    const client = createKubeClient({ kubeconfig: api.adminKubeconfig(), ...deps, userAgent: "control-plane", qps: 0 });
    endings.push(() => client.close());
    const store = settings.objectStore === undefined ? undefined : await startStore(directory, settings.objectStore, deps);
    if (store !== undefined) endings.push(() => store.close());
    const profiles = settings.csiProfiles ?? [];
    const tenants = tenantReader(client);
    const own = await startCsiDriver({
      socketPath: `${directory.storage}/controller.sock`,
      stateDirectory: directory.storage,
      nodeName: CONTROL_PLANE,
      ...deps,
    });
    endings.push(() => own.stop());
    const drivers = [storageDriverOf(own, own.topologyKey, endings)];
    for (const profile of profiles) {
      const driver = await startCsiDriver({
        ...profileDriver(directory, profile),
        socketPath: `${directory.storage}/${profile}.sock`,
        nodeName: CONTROL_PLANE,
        tenants,
        ...deps,
      });
      endings.push(() => driver.stop());
      drivers.push(storageDriverOf(driver, undefined, endings));
    }
    await installBasics(client, clock, profiles);
    const metadata = await startSnapshotMetadataGateway({
      ...{ client, driverName: own.name, driverSocket: own.socketPath, directory: directory.apiServer },
      ...deps,
    });
    endings.push(async () => metadata.stop());
    await announce(client, metadata.manifest);
    const volumes = startVolumeControllers({ client, drivers, ...deps });
    endings.push(() => volumes.stop());
    const workloads = startWorkloads({ client, ...deps });
    endings.push(() => workloads.stop());
    reportState(directory, CONTROL_PLANE, { state: "ready", facts: { server: api.url, ...(store === undefined ? {} : { objectStore: store.url }) } });
    options.onReady?.();
    await untilAborted(signal);
  } catch (error) {
    if (signal.aborted) return;
    const hint = error instanceof DrayError ? error.hint : undefined;
    reportState(directory, CONTROL_PLANE, { state: "failed", message: messageOf(error), ...(hint === undefined ? {} : { hint }) });
    throw error;
  } finally {
    for (const end of endings.reverse()) await end();
  }
}

/** The driver as the controllers of volumes call it. */
function storageDriverOf(driver: CsiDriver, topologyKey: string | undefined, endings: (() => Promise<void>)[]): StorageDriver {
  const calls = createCsiControllerClient(driver.socketPath);
  endings.push(async () => calls.close());
  return { ...calls, name: driver.name, topologyKey };
}

function startStore(
  directory: ClusterDirectory,
  settings: { readonly port: number; readonly buckets: readonly string[] },
  deps: Pick<RunControlPlaneOptions, "clock" | "random" | "logger">,
) {
  const { accessKey, secretKey } = storeKeys(directory, deps.random);
  // In the form that AWS's programs and Velero read.
  writeFileAtomically(directory.storeCredentialsPath, `[default]\naws_access_key_id = ${accessKey}\naws_secret_access_key = ${secretKey}\n`);
  return startObjectStore({
    directory: directory.objectStore,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    port: settings.port,
    buckets: settings.buckets,
    ...deps,
  });
}

/** The kinds of snapshots and the default storage classes; what is there already is left as somebody may have changed it. */
async function installBasics(client: KubeClient, clock: Clock, profiles: readonly CsiProfile[]): Promise<void> {
  await ensure(
    client,
    { group: "", version: "v1", plural: "namespaces", kind: "Namespace", namespaced: false },
    {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: NODE_LEASE_NAMESPACE },
    },
  );
  const crds = loadCrds("snapshot.storage.k8s.io", "groupsnapshot.storage.k8s.io", "cbt.storage.k8s.io");
  await forEachLimit(crds, INSTALL_PARALLEL, (crd) =>
    ensure(client, customResourceDefinitions as unknown as ResourceType<KubeObject>, crd as unknown as KubeObject),
  );
  const deadlineMs = clock.monotonicMs() + ESTABLISH_MS;
  for (const crd of crds) {
    while (!(await isEstablished(client, crd.metadata.name ?? ""))) {
      if (clock.monotonicMs() > deadlineMs)
        throw new DrayError("TIMED_OUT", `Cannot install "${crd.metadata.name}": the API server does not serve it after ${ESTABLISH_MS / 1000} s`);
      await clock.sleep(20);
    }
  }
  await forEachLimit([...defaultStorageManifests(), ...profiles.flatMap(profileManifests)], INSTALL_PARALLEL, ({ type, object }) =>
    ensure(client, type, object),
  );
}

async function isEstablished(client: KubeClient, name: string): Promise<boolean> {
  const crd = await client.get(customResourceDefinitions, { name });
  return crd.status?.conditions?.some(({ type, status }) => type === "Established" && status === "True") === true;
}

async function ensure(client: KubeClient, type: ResourceType<KubeObject>, object: KubeObject): Promise<void> {
  try {
    await client.create(type, object);
  } catch (error) {
    if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
  }
}
