import { describe, expect, it } from "vitest";
import { type InstallOptions, installManifests } from "./manifests.ts";

const options: InstallOptions = {
  namespace: "velero",
  image: "drayage/dray:0.1.0",
  repositoryPassword: "pass-of-the-test",
  credentials: "[default]\naws_access_key_id=key-of-the-test\n",
  nodeAgent: true,
  location: { name: "default", provider: "aws", bucket: "b", config: { region: "r" } },
};

describe("installManifests", () => {
  const manifests = installManifests(options);
  const named = (kind: string, name: string) => manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);

  it("installs every CRD of velero.io, our own, and those of OADP's first data mover, before anything that uses it", () => {
    const kinds = manifests.map((manifest) => manifest.kind);
    expect(kinds.filter((kind) => kind === "CustomResourceDefinition")).toHaveLength(21);
    expect(kinds.lastIndexOf("CustomResourceDefinition")).toBeLessThan(kinds.indexOf("BackupStorageLocation"));
  });

  it("keeps credentials and passwords in Secrets only", () => {
    for (const manifest of manifests) {
      if (manifest.kind === "Secret") continue;
      const text = JSON.stringify(manifest);
      expect(text).not.toContain("key-of-the-test");
      expect(text).not.toContain("pass-of-the-test");
    }
  });

  it("gives no role cluster-admin and no mover a Secret", () => {
    for (const manifest of manifests.filter(({ kind }) => kind === "ClusterRole" || kind === "Role")) {
      const rules = manifest["rules"] as { resources?: string[]; verbs: string[] }[];
      expect(rules.some((rule) => rule.verbs.includes("*"))).toBe(false);
      if (manifest.metadata.name.startsWith("drayage-mover")) expect(rules.flatMap((rule) => rule.resources)).not.toContain("secrets");
    }
    expect(named("ClusterRoleBinding", "drayage-velero")).toMatchObject({ roleRef: { name: "drayage-velero" } });
  });

  it("names the DaemonSet as Velero looks for it", () => {
    expect(named("DaemonSet", "node-agent")).toMatchObject({ spec: { template: { metadata: { labels: { role: "node-agent" } } } } });
  });

  it("gives the server one arena, and node-agents, whose threads work side by side, as many as the allocator takes", () => {
    const arenas = { name: "MALLOC_ARENA_MAX", value: "1" };
    const running = (env: unknown) => ({ spec: { template: { spec: { containers: [{ env }] } } } });
    expect(named("Deployment", "drayage")).toMatchObject(running(expect.arrayContaining([arenas])));
    expect(named("DaemonSet", "node-agent")).toMatchObject(running(expect.not.arrayContaining([arenas])));
  });

  it("runs on nodes of Linux alone", () => {
    for (const manifest of [named("Deployment", "drayage"), named("DaemonSet", "node-agent")])
      expect(manifest).toMatchObject({ spec: { template: { spec: { nodeSelector: { "kubernetes.io/os": "linux" } } } } });
  });

  it("holds server and node-agent to what the restricted pod security standard asks for", () => {
    for (const manifest of [named("Deployment", "drayage"), named("DaemonSet", "node-agent")]) {
      const { spec } = (
        manifest as unknown as { spec: { template: { spec: Record<string, unknown> & { containers: Record<string, unknown>[]; volumes: object[] } } } }
      ).spec.template;
      expect(spec).toMatchObject({ securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } } });
      for (const container of spec.containers) {
        expect(container).toMatchObject({
          securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
          resources: { requests: { cpu: expect.any(String), memory: expect.any(String) }, limits: { memory: expect.any(String) } },
        });
      }
      for (const volume of spec.volumes) expect(Object.keys(volume).some((key) => key === "emptyDir" || key === "secret")).toBe(true);
    }
  });

  it("lets nobody connect but to the metrics of server and node-agents and to the admission webhook", () => {
    const policies = manifests
      .filter(({ kind }) => kind === "NetworkPolicy")
      .map(({ spec }) => spec as { podSelector: object; policyTypes: string[]; ingress?: object[] });
    expect(policies.map(({ policyTypes }) => policyTypes)).toEqual([["Ingress"], ["Ingress"], ["Ingress"]]);
    expect(policies.flatMap(({ ingress = [] }) => ingress)).toEqual([
      {
        ports: [
          { protocol: "TCP", port: 8085 },
          { protocol: "TCP", port: 9443 },
        ],
      },
      { ports: [{ protocol: "TCP", port: 8085 }] },
    ]);
    expect(policies.at(-1)).toMatchObject({ podSelector: { matchExpressions: [{ key: "velero.io/exposer-pod-group", operator: "Exists" }] } });
    expect(policies.at(-1)?.ingress).toBeUndefined();
  });

  it("leaves out what was not asked for", () => {
    const bare = installManifests({ namespace: "n", image: "i", repositoryPassword: "p", nodeAgent: false });
    expect(bare.map(({ kind }) => kind)).not.toContain("DaemonSet");
    expect(bare.map(({ kind }) => kind)).not.toContain("BackupStorageLocation");
  });
});
