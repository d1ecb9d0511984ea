/** What a ServerStatusRequest names as plug-ins: nothing has to be added for these, and `velero plugin get` shows them by the names that Velero's own have. */
import type { PluginInfo } from "@drayage/controllers";

const named = (kind: string, ...names: readonly string[]): PluginInfo[] => names.map((name) => ({ kind, name: `velero.io/${name}` }));

/** What OADP's plug-ins `openshift` and `kubevirt` do. */
const OADP_PLUGINS: readonly PluginInfo[] = [
  ...["service-account", "registry"].map((name) => ({ kind: "BackupItemAction", name: `openshift.io/${name}` })),
  ...["registry", "route", "scc"].map((name) => ({ kind: "RestoreItemAction", name: `openshift.io/${name}` })),
  ...["virtualmachine", "virtualmachineinstance", "datavolume", "pvc"].map((name) => ({
    kind: "BackupItemAction",
    name: `kubevirt-velero-plugin/backup-${name}-action`,
  })),
  ...["virtualmachine", "virtualmachineinstance", "pod", "pvc"].map((name) => ({
    kind: "RestoreItemAction",
    name: `kubevirt-velero-plugin/restore-${name}-action`,
  })),
];

export const BUILT_IN_PLUGINS: readonly PluginInfo[] = [
  ...named("ObjectStore", "aws", "fs"),
  ...named("BackupItemAction", "pod", "pvc", "service-account"),
  ...named("BackupItemActionV2", "csi-pvc-backupper"),
  ...OADP_PLUGINS,
  ...named("RestoreItemAction", "dataupload", "job", "pod", "pvc", "role-bindings", "cluster-role-bindings", "secret", "service", "service-account"),
  ...named("RestoreItemActionV2", "csi-pvc-restorer"),
];
