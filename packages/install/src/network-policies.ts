/**
 * Who may connect to the pods of an installation: whoever scrapes metrics, to the port of metrics, and the API server, which may come from anywhere, to that of the admission webhook. Movers are asked by nobody. What they connect to themselves, the API server and
 * object stores anywhere, is not restricted: a policy names addresses, and those are not known here.
 */
import { LABELS } from "@drayage/api";
import { component, type Manifest, NODE_AGENT_NAME, SERVER_NAME } from "./manifests.ts";
import { METRICS_PORT, WEBHOOK_PORT } from "./workloads.ts";

export function networkPolicies(namespace: string, withNodeAgent: boolean): Manifest[] {
  const to = (...ports: readonly number[]): object[] => [{ ports: ports.map((port) => ({ protocol: "TCP", port })) }];
  const policy = (name: string, podSelector: object, ingress: readonly object[]): Manifest => ({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace, labels: component(name) },
    // No ingress at all is left out: the API server keeps no empty list.
    spec: { podSelector, policyTypes: ["Ingress"], ...(ingress.length === 0 ? {} : { ingress }) },
  });
  return [
    policy(SERVER_NAME, { matchLabels: { deploy: SERVER_NAME } }, to(METRICS_PORT, WEBHOOK_PORT)),
    ...(withNodeAgent ? [policy(NODE_AGENT_NAME, { matchLabels: { name: NODE_AGENT_NAME } }, to(METRICS_PORT))] : []),
    policy("drayage-mover", { matchExpressions: [{ key: LABELS.exposerPodGroup, operator: "Exists" }] }, []),
  ];
}
