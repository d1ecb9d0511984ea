/** What every namespace has from its beginning: the service account `default` and the certificate authority of the API server. */
import { hasCode } from "@drayage/base";
import { type ConfigMap, configMaps, isDeleting, type KubeClient, type KubeObject, type Namespace, type ResourceType, serviceAccounts } from "@drayage/kube";

export const ROOT_CA_NAME = "kube-root-ca.crt";

export async function ensureNamespaceDefaults(client: Pick<KubeClient, "create">, namespace: Namespace, caPem: string): Promise<void> {
  if (isDeleting(namespace) || namespace.status?.phase === "Terminating") return;
  const { name = "" } = namespace.metadata;
  await ensure(client, serviceAccounts, { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace: name, name: "default" } });
  const ca: ConfigMap = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      namespace: name,
      name: ROOT_CA_NAME,
      annotations: { "kubernetes.io/description": "Contains a CA bundle that can be used to verify the API server when using internal endpoints." },
    },
    data: { "ca.crt": caPem },
  };
  await ensure(client, configMaps, ca);
}

async function ensure<T extends KubeObject>(client: Pick<KubeClient, "create">, type: ResourceType<T>, object: T): Promise<void> {
  try {
    await client.create(type, object);
  } catch (error) {
    // Forbidden: the namespace began to go meanwhile. Not found: it has gone.
    if (!hasCode(error, "KUBE_ALREADY_EXISTS", "KUBE_FORBIDDEN", "KUBE_NOT_FOUND")) throw error;
  }
}
