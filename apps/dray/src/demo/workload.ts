/** The demo's application as Kubernetes objects: a namespace, two volumes, a Deployment whose hooks quiesce it, a ConfigMap, a Secret and a Service, so that a restore has something to bring back. */
import type { ConfigMap, Deployment, GenericObject, Namespace, PersistentVolumeClaim, Secret, Service } from "@drayage/kube";

export interface WorkloadOptions {
  readonly namespace: string;
  readonly image: string;
  /** Block volumes need root. */
  readonly withDevice: boolean;
  readonly storageClass: string;
  readonly volumeBytes: number;
  readonly deviceBytes: number;
  /** A directory of this machine to copy into the volume, instead of the sample. */
  readonly data?: string;
}

export const APPLICATION = "shop";
const FILES = "files";
const DISK = "disk";
export const VOLUME_PATH = "/data";
export const DEVICE_PATH = "/dev/disk";
const SOURCE_PATH = "/source";

const labels = { app: APPLICATION };

export function demoNamespace({ namespace }: WorkloadOptions): Namespace {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels: { "drayage.io/demo": "true" } } };
}

export function demoClaims(options: WorkloadOptions): PersistentVolumeClaim[] {
  const claim = (name: string, bytes: number, volumeMode: "Filesystem" | "Block"): PersistentVolumeClaim => ({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name, namespace: options.namespace, labels },
    spec: {
      accessModes: ["ReadWriteOnce"],
      storageClassName: options.storageClass,
      volumeMode,
      resources: { requests: { storage: `${Math.ceil(bytes / (1 << 20))}Mi` } },
    },
  });
  return [claim(FILES, options.volumeBytes, "Filesystem"), ...(options.withDevice ? [claim(DISK, options.deviceBytes, "Block")] : [])];
}

export function demoConfiguration({ namespace }: WorkloadOptions): { configMap: ConfigMap; secret: Secret; service: Service } {
  return {
    configMap: {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "settings", namespace, labels },
      data: { greeting: "hello", "settings.json": '{"cargo": "containers"}\n' },
    },
    secret: {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "token", namespace, labels },
      type: "Opaque",
      data: { value: Buffer.from("not a secret of anybody").toString("base64") },
    },
    service: {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: APPLICATION, namespace, labels },
      spec: { selector: labels, ports: [{ name: "http", port: 80, targetPort: 8080 }] },
    },
  };
}

export function demoDeployment(options: WorkloadOptions): Deployment {
  const hook = (verb: string): string => JSON.stringify(["dray", "demo-app", verb]);
  const args = [
    "demo-app",
    "run",
    "--volume",
    VOLUME_PATH,
    ...(options.withDevice ? ["--device", DEVICE_PATH] : []),
    ...(options.data === undefined ? [] : ["--data", SOURCE_PATH]),
  ];
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: APPLICATION, namespace: options.namespace, labels },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      strategy: { type: "Recreate" },
      template: {
        metadata: {
          labels,
          annotations: {
            "pre.hook.backup.velero.io/container": APPLICATION,
            "pre.hook.backup.velero.io/command": hook("quiesce"),
            "pre.hook.backup.velero.io/timeout": "2m",
            "post.hook.backup.velero.io/container": APPLICATION,
            "post.hook.backup.velero.io/command": hook("resume"),
          },
        },
        spec: {
          terminationGracePeriodSeconds: 2,
          containers: [
            {
              name: APPLICATION,
              image: options.image,
              imagePullPolicy: "IfNotPresent",
              command: ["dray"],
              args,
              volumeMounts: [
                { name: FILES, mountPath: VOLUME_PATH },
                ...(options.data === undefined ? [] : [{ name: "source", mountPath: SOURCE_PATH, readOnly: true }]),
              ],
              ...(options.withDevice ? { volumeDevices: [{ name: DISK, devicePath: DEVICE_PATH }] } : {}),
              readinessProbe: { exec: { command: ["test", "-f", "/tmp/demo-app/ready"] }, periodSeconds: 1 },
            },
          ],
          volumes: [
            { name: FILES, persistentVolumeClaim: { claimName: FILES } },
            ...(options.withDevice ? [{ name: DISK, persistentVolumeClaim: { claimName: DISK } }] : []),
            ...(options.data === undefined ? [] : [{ name: "source", hostPath: { path: options.data, type: "Directory" } }]),
          ],
        },
      },
    },
  };
}

/** What must be equal after the restore, of each object that is no volume: everything a user wrote, nothing a cluster adds. */
export function meaningOf(object: GenericObject): unknown {
  const { metadata } = object;
  const kept = Object.fromEntries(Object.entries(object).filter(([name]) => ["data", "type", "kind"].includes(name)));
  const ownLabels = Object.fromEntries(Object.entries(metadata.labels ?? {}).filter(([name]) => !name.startsWith("velero.io/")));
  return { ...kept, name: metadata.name, labels: ownLabels };
}
