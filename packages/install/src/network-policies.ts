/**
 * Who may connect to the pods of an installation: whoever scrapes metrics, to the port of metrics. Movers are asked by nobody. What they connect to themselves, the API server and
 * object stores anywhere, is not restricted: a policy names addresses, and those are not known here.
 */
import { LABELS } from "@drayage/api";
import { component, type Manifest, NODE_AGENT_NAME, SERVER_NAME } from "./manifests.ts";
import { METRICS_PORT } from "./workloads.ts";

export function networkPolicies(namespace: string, withNodeAgent: boolean): Manifest[] {
  const metrics = [{ ports: [{ protocol: "TCP", port: METRICS_PORT }] }];
  const policy = (name: string, podSelector: object, ingress: readonly object[]): Manifest => ({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace, labels: component(name) },
    // No ingress at all is left out: the API server keeps no empty list.
    spec: { podSelector, policyTypes: ["Ingress"], ...(ingress.length === 0 ? {} : { ingress }) },
  });
  return [
    policy(SERVER_NAME, { matchLabels: { deploy: SERVER_NAME } }, metrics),
    ...(withNodeAgent ? [policy(NODE_AGENT_NAME, { matchLabels: { name: NODE_AGENT_NAME } }, metrics)] : []),
    policy("drayage-mover", { matchExpressions: [{ key: LABELS.exposerPodGroup, operator: "Exists" }] }, []),
  ];
}
