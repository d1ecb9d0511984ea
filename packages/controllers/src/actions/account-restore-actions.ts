/** Accounts, their tokens and what they may do: tokens are the new cluster's to make, and bindings follow their subjects into another namespace. */
import { type GenericObject, type KubeClient, type RoleBinding, type Secret, type ServiceAccount, serviceAccounts } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { SERVICE_ACCOUNTS } from "./item-id.ts";
import type { RestoreAction } from "./restore-action.ts";

const TOKEN_TYPE = "kubernetes.io/service-account-token";

/** A service account loses the reference to the token Secret that its old cluster had made. */
export const serviceAccountRestoreAction: RestoreAction = {
  name: "velero.io/service-account",
  groupResource: SERVICE_ACCOUNTS,
  async execute(item) {
    const account = structuredClone(item) as unknown as ServiceAccount;
    const prefix = `${account.metadata.name}-token-`;
    if (account.secrets !== undefined) account.secrets = account.secrets.filter(({ name }) => !name.startsWith(prefix));
    if (account.secrets?.length === 0) delete account.secrets;
    return { item: account as unknown as GenericObject };
  },
};

/** A token Secret that was made for an account is left out; one that somebody asked for comes back empty and is filled by the new cluster. */
export function createSecretRestoreAction(client: KubeClient): RestoreAction {
  return {
    name: "velero.io/secret",
    groupResource: "secrets",
    async execute(item, { targetNamespace = "", signal }) {
      const secret = structuredClone(item) as unknown as Secret;
      if (secret.type !== TOKEN_TYPE) return { item };
      const accounts = await allOf(client.listAll(serviceAccounts, { namespace: targetNamespace, signal }));
      const { name = "", annotations } = secret.metadata;
      if (accounts.some((account) => name.startsWith(`${account.metadata.name}-token-`))) return { item, skip: true };
      delete annotations?.["kubernetes.io/service-account.uid"];
      delete secret.data?.["token"];
      delete secret.data?.["ca.crt"];
      return { item: secret as unknown as GenericObject };
    },
  };
}

/** A binding's subjects move with the namespaces they live in. */
export const roleBindingRestoreActions: readonly RestoreAction[] = ["rolebindings", "clusterrolebindings"].map((plural) => ({
  name: `velero.io/${plural}`,
  groupResource: `${plural}.rbac.authorization.k8s.io`,
  async execute(item, { restore }) {
    const mapping = restore.spec.namespaceMapping ?? {};
    const binding = structuredClone(item) as unknown as RoleBinding;
    if (binding.subjects !== undefined) {
      binding.subjects = binding.subjects.map((subject) => {
        const target = mapping[subject.namespace ?? ""];
        return target === undefined ? subject : { ...subject, namespace: target };
      });
    }
    return { item: binding as unknown as GenericObject };
  },
}));
