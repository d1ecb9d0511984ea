import { stringify } from "yaml";

/** A kubeconfig with one cluster, one user with a bearer token, and one context. */
export function kubeconfig(server: string, caPem: string, user: string, token: string): string {
  const name = "drayage";
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name, cluster: { server, "certificate-authority-data": Buffer.from(caPem).toString("base64") } }],
    users: [{ name: user, user: { token } }],
    contexts: [{ name, context: { cluster: name, user } }],
    "current-context": name,
  });
}
