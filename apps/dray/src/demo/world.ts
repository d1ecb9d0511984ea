/** The machines of the demo: clusters that come and go, and a bucket that stays. The demo knows no more of them than this. */
export interface DemoWorld {
  /** Where the bucket is served; the same for every cluster. */
  readonly store: { readonly url: string; readonly bucket: string; readonly region: string; readonly credentialsFile: string };
  /** Starts a cluster that has never been before. */
  up(name: string): Promise<{ readonly kubeconfigPath: string }>;
  /** Ends a cluster and removes everything of it. */
  destroy(name: string): Promise<void>;
  /** Bytes in the bucket. */
  storedBytes(): Promise<number>;
  /** Ends what still runs, unless it should be kept. */
  close(options: { readonly keep: boolean }): Promise<void>;
  /** How to end what was kept. */
  readonly farewell: string;
}
