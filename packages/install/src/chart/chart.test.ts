import { describe, expect, it } from "vitest";
import { installManifests, type Manifest } from "../manifests.ts";
import { renderChart } from "../testing/render-chart.ts";
import { helmChart } from "./chart.ts";

const VERSION = "1.2.3";
const chart = helmChart(VERSION);
const rendered = (values: Readonly<Record<string, unknown>> = {}): Manifest[] => renderChart(chart, { namespace: "velero", values }) as Manifest[];
const installed = (options: Partial<Parameters<typeof installManifests>[0]> = {}): Manifest[] =>
  installManifests({ namespace: "velero", image: `drayage/dray:${VERSION}`, repositoryPassword: "p", nodeAgent: true, ...options });
/** Order is Helm's own; the namespace is made by Helm, or by whoever calls it. */
const sorted = (manifests: readonly Manifest[], ...without: readonly string[]): string[] =>
  manifests
    .filter(({ kind }) => !["Namespace", ...without].includes(kind))
    .map((manifest) =>
      JSON.stringify(
        manifest,
        (_key, value: unknown) => (isMap(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value),
        1,
      ),
    )
    .sort();
const isMap = (value: unknown): value is object => typeof value === "object" && value !== null && !Array.isArray(value);
const podOf = (manifests: readonly Manifest[], kind: string) =>
  (
    manifests.find((manifest) => manifest.kind === kind) as unknown as {
      spec: { template: { spec: Record<string, unknown> & { containers: Record<string, unknown>[] } } };
    }
  ).spec.template.spec;

describe("the Helm chart", () => {
  it("renders by default to what dray install prints", () => {
    expect(sorted(rendered())).toEqual(sorted(installed(), "Secret"));
    expect(rendered().length).toBeGreaterThan(25);
  });

  it("renders to what dray install applies, with a location, its keys and a password", () => {
    const location = { name: "default", provider: "aws", bucket: "b", prefix: "p/q", caCert: "-----BEGIN", config: { region: "r", s3ForcePathStyle: "true" } };
    const credentials = '[default]\naws_access_key_id = "x"\n';
    expect(sorted(rendered({ location, credentials, repositoryPassword: 'it\'s "p"' }))).toEqual(
      sorted(installed({ location, credentials, repositoryPassword: 'it\'s "p"' })),
    );
  });

  it("mounts keys that are in the cluster already", () => {
    const manifests = rendered({ existingCredentials: true });
    expect(sorted(manifests)).toEqual(sorted(installed({ credentials: "" }), "Secret"));
  });

  it("leaves out node-agents and policies where they are not wanted", () => {
    const manifests = rendered({ nodeAgent: { enabled: false }, networkPolicies: { enabled: false } });
    expect(sorted(manifests)).toEqual(sorted(installed({ nodeAgent: false }), "Secret", "NetworkPolicy"));
  });

  it("leaves the admission webhook out where it is not wanted", () => {
    const manifests = rendered({ admissionWebhook: { enabled: false } });
    expect(sorted(manifests)).toEqual(sorted(installed({ admissionWebhook: false }), "Secret"));
    expect(podOf(manifests, "Deployment").containers[0]?.["args"]).toContain("--webhook-address=");
    expect(manifests.map(({ kind }) => kind)).not.toContain("Service");
  });

  it("puts the values of each role where they belong", () => {
    const tolerations = [{ key: "storage", operator: "Exists" }];
    const manifests = rendered({
      image: { repository: "mirror.example/dray", tag: "9", pullPolicy: "Always" },
      imagePullSecrets: [{ name: "mirror" }],
      server: { extraArgs: ["--log-level=debug"], priorityClassName: "high", resources: { requests: { cpu: "2" } } },
      nodeAgent: { tolerations, nodeSelector: { disk: "fast" }, extraArgs: ["--node-agent-configmap=config", "--log-level=warn"] },
    });
    const server = podOf(manifests, "Deployment");
    expect(server).toMatchObject({ priorityClassName: "high", imagePullSecrets: [{ name: "mirror" }] });
    expect(server.containers[0]).toMatchObject({
      image: "mirror.example/dray:9",
      imagePullPolicy: "Always",
      args: ["server", "--default-snapshot-move-data", "--log-level=debug"],
      resources: { requests: { cpu: "2" } },
    });
    const agent = podOf(manifests, "DaemonSet");
    expect(agent).toMatchObject({ tolerations, nodeSelector: { "kubernetes.io/os": "linux", disk: "fast" } });
    expect(agent.containers[0]?.["args"]).toEqual(["node-agent", "server", "--node-agent-configmap=config", "--log-level=warn"]);
    expect(agent["priorityClassName"]).toBeUndefined();
  });

  it("says what it is, and holds no secret", () => {
    const manifest = chart.find(({ path }) => path === "Chart.yaml")?.text ?? "";
    expect(manifest).toContain(`version: ${VERSION}`);
    expect(manifest).toContain(`appVersion: ${VERSION}`);
    expect(chart.map(({ path }) => path)).toEqual(expect.arrayContaining(["values.yaml", "templates/NOTES.txt", "crds/datauploads.velero.io.yaml"]));
    expect(rendered().map(({ kind }) => kind)).not.toContain("Secret");
  });
});
