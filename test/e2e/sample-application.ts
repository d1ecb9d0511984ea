/** A small application with volumes, as bare as an application can be: one pod that sleeps, and is told by exec what to write. */
import { namespaces, type PersistentVolumeClaim, type Pod, persistentVolumeClaims, pods } from "@drayage/kube";
import type { Harness } from "./harness.ts";

export interface SampleVolume {
  readonly mode?: "Filesystem" | "Block";
  readonly size?: string;
  readonly storageClass?: string;
}

/** By the name of the claim. */
export type SampleVolumes = Readonly<Record<string, SampleVolume>>;

const POD = "app";

/** Makes namespace, claims and pod, and waits until it runs. Volumes are at `/volumes/<claim>`, devices at `/dev/<claim>`. */
export async function deployApplication(harness: Harness, namespace: string, volumes: SampleVolumes): Promise<void> {
  const { client } = harness;
  await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
  for (const [name, volume] of Object.entries(volumes)) await client.create(persistentVolumeClaims, claimOf(namespace, name, volume));
  await startApplication(harness, namespace, volumes);
}

/** Makes the pod over claims that are there, and waits until it runs. */
export async function startApplication(harness: Harness, namespace: string, volumes: SampleVolumes): Promise<void> {
  await harness.client.create(pods, podOf(namespace, volumes));
  await untilRunning(harness, namespace);
}

export async function untilRunning(harness: Harness, namespace: string): Promise<void> {
  await harness.until(pods, { namespace, name: POD }, ({ status }) => status?.phase === "Running");
}

export function claimOf(
  namespace: string,
  name: string,
  { mode = "Filesystem", size = "16Mi", storageClass = "drayage-fs" }: SampleVolume,
): PersistentVolumeClaim {
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { namespace, name },
    spec: { accessModes: ["ReadWriteOnce"], volumeMode: mode, storageClassName: storageClass, resources: { requests: { storage: size } } },
  };
}

function podOf(namespace: string, volumes: SampleVolumes): Pod {
  const byMode = (wanted: "Filesystem" | "Block"): string[] =>
    Object.entries(volumes)
      .filter(([, { mode = "Filesystem" }]) => mode === wanted)
      .map(([name]) => name);
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace, name: POD },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: "main",
          image: "busybox",
          imagePullPolicy: "IfNotPresent",
          command: ["sleep", "100000"],
          volumeMounts: byMode("Filesystem").map((name) => ({ name, mountPath: `/volumes/${name}` })),
          volumeDevices: byMode("Block").map((name) => ({ name, devicePath: `/dev/${name}` })),
        },
      ],
      volumes: Object.keys(volumes).map((name) => ({ name, persistentVolumeClaim: { claimName: name } })),
    },
  };
}

/** Runs a line of shell in the application and returns what it prints. Fails with what it complains of. */
export async function inApplication(harness: Harness, namespace: string, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await harness.client.podExec({ namespace, name: POD }, { command: ["sh", "-ec", script], outputLimitBytes: 16 << 20 });
  if (exitCode !== 0) throw new Error(`"${script}" ended with ${exitCode}: ${stderr}`);
  return stdout;
}

/** Writes a few MiB of everything that ordinary volumes hold. */
export function fillFolder(harness: Harness, namespace: string, claim: string): Promise<string> {
  return inApplication(
    harness,
    namespace,
    `cd /volumes/${claim}; mkdir -p deep/er "odd ☃ name"; head -c 3145728 /dev/urandom > big; echo hello > deep/er/small; : > empty
     ln big hard; ln -s deep/er/small link; truncate -s 1048576 holes; printf x | dd of=holes bs=1 seek=524288 conv=notrunc status=none
     chmod 640 deep/er/small; chown 1000:1001 deep/er/small; chmod 2750 deep; echo odd > "odd ☃ name/ü"; touch -d 2001-02-03T04:05:06.789 deep/er/small deep/er`,
  );
}

/** Every fact of a volume as lines: kind, mode, owner, time, size and digest of each entry, names byte by byte; of a device its size and digest. */
export async function factsOf(harness: Harness, namespace: string, claim: string, mode: "Filesystem" | "Block" = "Filesystem"): Promise<string> {
  if (mode === "Block") return inApplication(harness, namespace, `blockdev --getsize64 /dev/${claim}; sha256sum < /dev/${claim}`);
  const kinds = "find . -type d -printf '%p %y %m %U %G %T@\\n'; find . ! -type d -printf '%p %y %m %U %G %T@ %s %l\\n'; find . -type f -exec sha256sum {} +";
  // A listing is not text: names may be any bytes.
  const listing = await inApplication(harness, namespace, `cd /volumes/${claim}; { ${kinds}; } | LC_ALL=C sort | base64 -w0`);
  return Buffer.from(listing, "base64").toString("latin1");
}
