/** A store in which nothing works, in a pod of its own, for the time of one check. */
import { DrayError } from "@drayage/base";
import { type KubeClient, keyOf, type Pod, pods } from "@drayage/kube";
import type { Terminal } from "../terminal.ts";
import { removePod } from "./one-pod.ts";

export interface FaultyStore {
  /** For `s3Url`. */
  readonly url: string;
  /** Whether somebody has sent it a request. */
  wasAsked(): Promise<boolean>;
}

export interface FaultyStoreOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Ours. */
  readonly image: string;
  readonly limitMs: number;
}

const POLL_MS = 300;
/** On a cluster of one machine pods share their addresses: a port of the dynamic range that hardly anybody has. */
const PORT = { from: 49_152, count: 16_000 };

/** Runs it while `work` goes on. Throws DATA_MOVEMENT_FAILED when its pod does not come up. */
export async function withFaultyStore<T>(
  fault: "cut" | "hold",
  options: FaultyStoreOptions,
  terminal: Terminal,
  work: (store: FaultyStore) => Promise<T>,
): Promise<T> {
  const { client, namespace, name, image, limitMs } = options;
  const { clock, signal, random } = terminal;
  const port = PORT.from + Math.floor(random.fraction() * PORT.count);
  const pod: Pod = {
    metadata: { namespace, name, labels: { "app.kubernetes.io/name": "drayage", "app.kubernetes.io/component": "validate-mover" } },
    spec: {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      activeDeadlineSeconds: Math.ceil(limitMs / 1000) * 2 + 5,
      containers: [{ name: "store", image, command: ["/dray"], args: ["data-mover", "faulty-store", fault, `--port=${port}`] }],
    },
  };
  const log = async (): Promise<string> => {
    const parts: Uint8Array[] = [];
    for await (const part of client.podLog(keyOf(pod), { signal })) parts.push(part);
    return Buffer.concat(parts).toString("utf8");
  };
  await removePod(client, pod, clock);
  try {
    await client.create(pods, pod, { signal });
    const deadlineMs = clock.monotonicMs() + limitMs;
    let host: string | undefined;
    while (host === undefined) {
      const { status } = await client.get(pods, keyOf(pod), signal);
      if (status?.phase === "Failed" || status?.phase === "Succeeded" || clock.monotonicMs() >= deadlineMs)
        throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot run the store of the check: its pod "${name}" is ${status?.phase ?? "not there"}`);
      if (status?.phase === "Running" && (await log()).includes("listening")) host = status.podIP;
      if (host === undefined) await clock.sleep(POLL_MS, signal);
    }
    return await work({ url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`, wasAsked: async () => (await log()).includes(`${fault}\n`) });
  } finally {
    await removePod(client, pod, clock);
  }
}
