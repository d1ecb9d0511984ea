/** One CSI driver: the instance of one node. All instances of a cluster share one folder of storage. */
import { mkdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Clock, Logger, RandomSource } from "@drayage/base";
import { type CsiImplementations, serveCsi } from "@drayage/protocols/csi";
import { BlockChecksums } from "./block-checksums.ts";
import { type CephKind, cephServices } from "./ceph/ceph-services.ts";
import type { TenantReader } from "./ceph/tenant-keys.ts";
import { ControllerService } from "./controller-service.ts";
import { type CsiFaults, faultyInterceptor } from "./faults.ts";
import { GroupControllerService } from "./group-controller-service.ts";
import { detectHostAbilities, type HostAbilities } from "./host-abilities.ts";
import { NodeService } from "./node-service.ts";
import { OperationLocks } from "./operation-locks.ts";
import { snapshotMetadataService } from "./snapshot-metadata-service.ts";
import { RecordFile } from "./storage-record.ts";
import { VolumeStorage } from "./volume-storage.ts";

export const CSI_DRIVER_NAME = "csi.drayage.io";

export interface StartCsiDriverOptions {
  /** Where it listens; of any length. The folder is made. */
  readonly socketPath: string;
  /** Where volumes, snapshots and the record of them are; shared by the instances of all nodes. */
  readonly stateDirectory: string;
  readonly nodeName: string;
  /** `csi.drayage.io` when left out. */
  readonly driverName?: string;
  /** What `GetPluginInfo` says. */
  readonly version?: string;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly faults?: CsiFaults;
  /** Capacity to give out in all, in bytes; that of the disk when left out. */
  readonly poolBytes?: number;
  /** How long a snapshot stays unready after it was cut; none when left out. */
  readonly snapshotProcessingMs?: number;
  /** What the machine permits; detected when left out. */
  readonly abilities?: HostAbilities;
  /** Which storage it behaves as; one without peculiarities when left out. */
  readonly profile?: CephKind;
  /** Who the volumes belong to and by which token they are opened, for profiles with encrypted ones. */
  readonly tenants?: TenantReader;
}

export interface CsiDriver {
  readonly name: string;
  readonly socketPath: string;
  /** The label of a node by which volumes of one node say where they are. */
  readonly topologyKey: string;
  readonly abilities: HostAbilities;
  /** Ends its calls. What is mounted stays, as it does when a real driver is restarted; see `releaseStorage`. */
  stop(): Promise<void>;
}

/** The topology key of a driver: its nodes carry it as a label with their name. */
export function topologyKeyOf(driverName: string): string {
  return `topology.${driverName}/node`;
}

/** Starts to listen. Throws NOT_PERMITTED when another process listens on the socket, and PATH_IO when the storage cannot be understood. */
export async function startCsiDriver(options: StartCsiDriverOptions): Promise<CsiDriver> {
  const { socketPath, nodeName, clock, random } = options;
  const name = options.driverName ?? CSI_DRIVER_NAME;
  const folder = resolve(options.stateDirectory);
  const logger = options.logger.child({ driver: name, node: nodeName });
  const abilities = options.abilities ?? detectHostAbilities();
  const storage = new VolumeStorage(folder, random);
  await storage.open();
  const records = new RecordFile(folder, random);
  // Where no record was ever written nothing can be told apart, and nothing is removed.
  if (await records.exists()) await records.update(async (record) => ({ result: await storage.sweep(record) }));
  const shared = { records, storage, abilities, nodeName, topologyKey: topologyKeyOf(name) };
  const cutting = { ...shared, clock, operations: new OperationLocks(), snapshotProcessingMs: options.snapshotProcessingMs ?? 0 };
  const controller = new ControllerService({ ...cutting, poolBytes: options.poolBytes });
  const node = new NodeService(shared);
  const { profile, tenants } = options;
  const services =
    profile === undefined ? { controller, node } : cephServices({ controller, node }, { kind: profile, folder, abilities, clock, random, logger, tenants });
  // A profile stands before every call of the controller, and has no word on groups and blocks.
  const further =
    profile === undefined
      ? {
          GroupController: new GroupControllerService(cutting),
          SnapshotMetadata: snapshotMetadataService({ records, storage, checksums: new BlockChecksums(folder, random) }),
        }
      : {};
  const implementations: CsiImplementations = {
    Identity: identity(name, options.version ?? "0.1.0", profile === undefined),
    Controller: services.controller,
    Node: services.node,
    ...further,
  };
  await mkdir(dirname(socketPath), { recursive: true });
  const intercept = faultyInterceptor({ faults: options.faults ?? { faults: [] }, clock, random, logger });
  const server = await serveCsi(socketPath, implementations, intercept);
  logger.info("CSI driver listens", { socketPath, mount: abilities.mount, loopDevices: abilities.loopDevices });
  const stop = async (): Promise<void> => {
    await server.stop();
    await storage.settled();
  };
  return { name, socketPath, topologyKey: shared.topologyKey, abilities, stop };
}

function identity(name: string, vendorVersion: string, withFurther: boolean): NonNullable<CsiImplementations["Identity"]> {
  return {
    GetPluginInfo: async () => ({ name, vendorVersion }),
    GetPluginCapabilities: async () => ({
      capabilities: [
        { service: { type: "CONTROLLER_SERVICE" } },
        { service: { type: "VOLUME_ACCESSIBILITY_CONSTRAINTS" } },
        ...(withFurther ? ([{ service: { type: "GROUP_CONTROLLER_SERVICE" } }, { service: { type: "SNAPSHOT_METADATA_SERVICE" } }] as const) : []),
        { volumeExpansion: { type: "ONLINE" } },
      ],
    }),
    Probe: async () => ({ ready: { value: true } }),
  };
}
