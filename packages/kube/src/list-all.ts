import { hasCode } from "@drayage/base";
import type { KubeClient, KubeList, KubeObject, ListOptions, ResourceType } from "./types.ts";

/** A page of the API server's own tools. */
export const LIST_PAGE_SIZE = 500;

/** Every object, one after the other, as `listPages` gives them. */
export async function* listAll<T extends KubeObject>(
  client: Pick<KubeClient, "list">,
  type: ResourceType<T>,
  options: ListOptions = {},
): AsyncGenerator<T, void, undefined> {
  for await (const page of listPages(client, type, options)) yield* page;
}

/**
 * Every object, a page at a time. When the server has forgotten the listing in the middle (410), the rest is listed from now on, and what was given already is left out by UID;
 * memory is one page plus the UIDs seen.
 */
export async function* listPages<T extends KubeObject>(
  client: Pick<KubeClient, "list">,
  type: ResourceType<T>,
  options: ListOptions = {},
  pageSize: number = LIST_PAGE_SIZE,
): AsyncGenerator<readonly T[], void, undefined> {
  const given = new Set<string>();
  let token: string | undefined;
  let restarted = false;
  do {
    let page: KubeList<T>;
    try {
      page = await client.list(type, { ...options, limit: pageSize, ...(token === undefined ? {} : { continue: token }) });
    } catch (error) {
      if (token === undefined || restarted || !hasCode(error, "KUBE_GONE")) throw error;
      token = undefined;
      restarted = true;
      // A second expiry would mean that a full listing outlives the server's history; without a limit it is one consistent answer.
      page = await client.list(type, options);
    }
    yield page.items.filter(({ metadata }) => {
      const uid = metadata.uid ?? `${metadata.namespace ?? ""}/${metadata.name ?? ""}`;
      if (given.has(uid)) return false;
      if (!restarted) given.add(uid);
      return true;
    });
    token = page.metadata.continue === "" ? undefined : page.metadata.continue;
  } while (token !== undefined);
}
