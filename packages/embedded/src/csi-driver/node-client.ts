/** What a kubelet asks a driver for, and what a provisioner does, over the driver's socket. */
import {
  type CallOptions,
  type ControllerRpcs,
  type CsiClient,
  connectCsi,
  type GroupControllerRpcs,
  type VolumeCapability,
  type VolumeUsage,
} from "@drayage/protocols/csi";

/** A volume as a PersistentVolume names it. */
export interface NodeVolume {
  readonly volumeHandle: string;
  readonly volumeMode: "Filesystem" | "Block";
  readonly accessModes: readonly string[];
  readonly fsType?: string | undefined;
  readonly mountFlags?: readonly string[] | undefined;
  readonly volumeAttributes?: Readonly<Record<string, string>> | undefined;
}

export interface CsiNodeInfo {
  readonly driverName: string;
  readonly nodeId: string;
  /** Labels that the node must carry, so that volumes of one node are found there. */
  readonly topology: Readonly<Record<string, string>>;
}

/**
 * The node side of a driver. Every call may be made again; failures carry the codes of `csiError`, of which CSI_BUSY and CSI_UNAVAILABLE pass by themselves.
 *
 * @example
 * const driver = createCsiNodeClient("/run/csi.sock");
 * await driver.stage(volume, "/var/lib/kubelet/…/globalmount");
 * await driver.publish(volume, { stagingPath: "/var/lib/kubelet/…/globalmount", targetPath: "/var/lib/kubelet/pods/…/mount", readOnly: false });
 */
export interface CsiNodeClient {
  info(options?: CallOptions): Promise<CsiNodeInfo>;
  /** Makes the volume ready on this node, once for all pods. The folder is made when it is not there. */
  stage(volume: NodeVolume, stagingPath: string, options?: CallOptions): Promise<void>;
  unstage(volumeHandle: string, stagingPath: string, options?: CallOptions): Promise<void>;
  /**
   * Shows a staged volume at `targetPath`: a folder, or for block volumes a file that becomes the device. Where the driver cannot mount, the target is a symbolic
   * link to the volume's folder: resolve it before binding it anywhere, and bind it read-only when `readOnly` is wanted.
   */
  publish(
    volume: NodeVolume,
    at: { readonly stagingPath: string; readonly targetPath: string; readonly readOnly: boolean },
    options?: CallOptions,
  ): Promise<void>;
  /** Takes it away again and removes the target. */
  unpublish(volumeHandle: string, targetPath: string, options?: CallOptions): Promise<void>;
  /** Lets a volume that the controller made larger be so where it is published. */
  expand(volumeHandle: string, volumePath: string, options?: CallOptions): Promise<void>;
  /** Bytes and inodes of the file system that a volume is on; of a block volume its size only. */
  stats(volumeHandle: string, volumePath: string, options?: CallOptions): Promise<readonly VolumeUsage[]>;
  close(): void;
}

export function createCsiNodeClient(socketPath: string): CsiNodeClient {
  const { node, identity, close } = connectCsi(socketPath);
  const described = (volume: NodeVolume) => ({
    volumeId: volume.volumeHandle,
    volumeCapability: capabilityOf(volume),
    volumeContext: volume.volumeAttributes ?? {},
  });
  return {
    info: async (options) => {
      const { name } = await identity.GetPluginInfo({}, options);
      const { nodeId, accessibleTopology } = await node.NodeGetInfo({}, options);
      return { driverName: name, nodeId, topology: accessibleTopology?.segments ?? {} };
    },
    stage: async (volume, stagingPath, options) => {
      await node.NodeStageVolume({ ...described(volume), stagingTargetPath: stagingPath }, options);
    },
    unstage: async (volumeHandle, stagingPath, options) => {
      await node.NodeUnstageVolume({ volumeId: volumeHandle, stagingTargetPath: stagingPath }, options);
    },
    publish: async (volume, { stagingPath, targetPath, readOnly }, options) => {
      await node.NodePublishVolume({ ...described(volume), stagingTargetPath: stagingPath, targetPath, readonly: readOnly }, options);
    },
    unpublish: async (volumeHandle, targetPath, options) => {
      await node.NodeUnpublishVolume({ volumeId: volumeHandle, targetPath }, options);
    },
    expand: async (volumeHandle, volumePath, options) => {
      await node.NodeExpandVolume({ volumeId: volumeHandle, volumePath }, options);
    },
    stats: async (volumeHandle, volumePath, options) => (await node.NodeGetVolumeStats({ volumeId: volumeHandle, volumePath }, options)).usage,
    close,
  };
}

export interface CsiControllerClient extends CsiClient<ControllerRpcs> {
  /** Snapshots of several volumes at once: the CSI GroupController service. */
  readonly groups: CsiClient<GroupControllerRpcs>;
  close(): void;
}

/** The controller side of a driver: every method of the CSI Controller service as a function. */
export function createCsiControllerClient(socketPath: string): CsiControllerClient {
  const { controller, groupController, close } = connectCsi(socketPath);
  return { ...controller, groups: groupController, close };
}

/** The CSI capability of one access mode as Kubernetes names it (ReadWriteOnce, …). */
export function capabilityOf(volume: Pick<NodeVolume, "volumeMode" | "accessModes" | "fsType" | "mountFlags">): VolumeCapability {
  const mode = csiAccessMode(volume.accessModes);
  if (volume.volumeMode === "Block") return { block: {}, accessMode: { mode } };
  return { mount: { fsType: volume.fsType ?? "", mountFlags: volume.mountFlags ?? [], volumeMountGroup: "" }, accessMode: { mode } };
}

/** As the field's sidecars translate them for drivers without SINGLE_NODE_MULTI_WRITER: the widest mode counts. */
function csiAccessMode(accessModes: readonly string[]): "SINGLE_NODE_WRITER" | "MULTI_NODE_READER_ONLY" | "MULTI_NODE_MULTI_WRITER" {
  if (accessModes.includes("ReadWriteMany")) return "MULTI_NODE_MULTI_WRITER";
  if (accessModes.includes("ReadOnlyMany") && !accessModes.some((mode) => mode.startsWith("ReadWrite"))) return "MULTI_NODE_READER_ONLY";
  return "SINGLE_NODE_WRITER";
}
