import type { ControllerRpcs, CsiClient, GroupControllerRpcs } from "@drayage/protocols/csi";

/** What the controllers of this folder need of a CSI driver. Calls may be made again; failures carry the codes of `csiError`. */
export interface StorageDriver
  extends Pick<CsiClient<ControllerRpcs>, "CreateVolume" | "DeleteVolume" | "CreateSnapshot" | "DeleteSnapshot" | "ListSnapshots"> {
  readonly name: string;
  readonly groups: Pick<CsiClient<GroupControllerRpcs>, "CreateVolumeGroupSnapshot" | "DeleteVolumeGroupSnapshot" | "GetVolumeGroupSnapshot">;
  /** The label by which nodes say where they are, for volumes that not every node reaches; undefined when there are none such. */
  readonly topologyKey: string | undefined;
}
