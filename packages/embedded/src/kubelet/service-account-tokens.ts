import { type Clock, parseTime } from "@drayage/base";
import type { KubeClient, Pod } from "@drayage/kube";
import type { TokenRequest, TokenSource } from "./api-volumes.ts";
import { podKey } from "./pod-types.ts";

interface KeptToken {
  readonly token: string;
  readonly renewAtMs: number;
}

interface TokenAnswer {
  readonly status?: { readonly token?: string; readonly expirationTimestamp?: string };
}

/** A token is asked for anew when this part of its life is over, as a kubelet does. */
const RENEW_AFTER_PART = 0.8;
const KEPT_MAX = 10_000;

/** Tokens bound to a pod, so that they end with it, through the TokenRequest API. */
export function createTokenSource(client: Pick<KubeClient, "request">, clock: Clock): TokenSource {
  const kept = new Map<string, KeptToken>();
  return async (pod, wanted) => {
    const { uid } = podKey(pod);
    const key = `${uid} ${wanted.audience ?? ""} ${wanted.expirationSeconds}`;
    const known = kept.get(key);
    if (known !== undefined && clock.nowMs() < known.renewAtMs) return known.token;
    const fresh = await requestToken(client, clock, pod, wanted);
    kept.delete(key);
    kept.set(key, fresh);
    const [oldest] = kept.keys();
    if (kept.size > KEPT_MAX && oldest !== undefined) kept.delete(oldest);
    return fresh.token;
  };
}

async function requestToken(client: Pick<KubeClient, "request">, clock: Clock, pod: Pod, wanted: TokenRequest): Promise<KeptToken> {
  const { namespace, name, uid } = podKey(pod);
  const account = pod.spec.serviceAccountName ?? "default";
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`;
  const answer = await client.request<TokenAnswer>("POST", path, {
    body: {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: {
        ...(wanted.audience === undefined ? {} : { audiences: [wanted.audience] }),
        expirationSeconds: wanted.expirationSeconds,
        boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid },
      },
    },
  });
  const nowMs = clock.nowMs();
  const endsAtMs = parseTime(answer.status?.expirationTimestamp) ?? nowMs + wanted.expirationSeconds * 1000;
  return { token: answer.status?.token ?? "", renewAtMs: nowMs + (endsAtMs - nowMs) * RENEW_AFTER_PART };
}
