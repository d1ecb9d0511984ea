import { clusterRoleBindings, type KubeClient, type RoleBinding } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import type { BackupAction } from "./backup-action.ts";
import { type ItemId, SERVICE_ACCOUNTS } from "./item-id.ts";

/** A service account brings the cluster role bindings that name it, and their cluster roles. The bindings are listed once, at the first account. */
export function createServiceAccountBackupAction(client: KubeClient): BackupAction {
  let loading: Promise<readonly RoleBinding[]> | undefined;
  const load = (signal: AbortSignal): Promise<readonly RoleBinding[]> => allOf(client.listAll(clusterRoleBindings, { signal }));
  return {
    name: "velero.io/service-account",
    groupResource: SERVICE_ACCOUNTS,
    async execute(item, { signal }) {
      loading ??= load(signal);
      const { namespace, name } = item.metadata;
      const related = (await loading).filter((binding) =>
        binding.subjects?.some((subject) => subject.kind === "ServiceAccount" && subject.namespace === namespace && subject.name === name),
      );
      const cluster = (groupResource: string, itemName: string): ItemId => ({
        groupResource: `${groupResource}.rbac.authorization.k8s.io`,
        namespace: undefined,
        name: itemName,
      });
      const roles = [...new Set(related.map(({ roleRef }) => roleRef.name))];
      return {
        item,
        additionalItems: [
          ...related.map((binding) => cluster("clusterrolebindings", binding.metadata.name ?? "")),
          ...roles.map((role) => cluster("clusterroles", role)),
        ],
      };
    },
  };
}
