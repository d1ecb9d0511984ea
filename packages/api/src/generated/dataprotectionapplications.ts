// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface DataProtectionApplicationSpec {
  /** Whether images of the internal registry are backed up; true when left out. */
  backupImages?: boolean;
  /** Where backups are kept. */
  backupLocations?: Array<{
    /** The location by a CloudStorage. */
    bucket?: {
      /** How often the location is looked through for backups; 0 means never. */
      backupSyncPeriod?: string | null;
      /** PEM of a CA to trust beside the system's, in base64. */
      caCert?: string;
      /** The CloudStorage. */
      cloudStorageRef: {
        /** Name. */
        name?: string;
      };
      /** Settings of the provider. */
      config?: Record<string, string>;
      /** The key of a Secret that holds credentials for the store. */
      credential?: {
        /** The key within it. */
        key: string;
        /** Name. */
        name?: string;
        /** Whether it may be missing. */
        optional?: boolean;
      };
      /** Whether backups that name no location go here. */
      default?: boolean;
      /** Folder in the bucket. */
      prefix?: string;
    };
    /** Its name; that of the application and its number when left out. */
    name?: string;
    /** The location as Velero has it. */
    velero?: {
      /** Whether backups may be written there. */
      accessMode?: "ReadOnly" | "ReadWrite";
      /** How often the bucket's backups are looked for; 0s turns it off. */
      backupSyncPeriod?: string | null;
      /** Settings of the provider, such as region and s3Url. */
      config?: Record<string, string>;
      /** The key of a Secret that holds credentials for the store. */
      credential?: {
        /** The key within it. */
        key: string;
        /** Name. */
        name?: string;
        /** Whether it may be missing. */
        optional?: boolean;
      };
      /** Whether backups without a location go here. */
      default?: boolean;
      /** The bucket. */
      objectStorage: {
        /** Name of the bucket. */
        bucket: string;
        /** PEM of a certificate authority to trust, in base64. */
        caCert?: string;
        /** The key of a Secret that holds the certificate authority. */
        caCertRef?: {
          /** The key within it. */
          key: string;
          /** Name. */
          name?: string;
          /** Whether it may be missing. */
          optional?: boolean;
        };
        /** A folder in the bucket. */
        prefix?: string;
      };
      /** Name of the provider. */
      provider: string;
      /** How often the location is tried; 0s turns it off. */
      validationFrequency?: string | null;
    };
  }>;
  /** How server and node-agents run. */
  configuration: {
    /** The node-agents. */
    nodeAgent?: {
      /** The claims that movers read from, by storage class. */
      backupPVC?: Record<string, {
        /** Annotations of the claims. */
        annotations?: Record<string, string>;
        /** Whether it is mounted read-only. */
        readOnly?: boolean;
        /** Whether SELinux labels of its files are left alone. */
        spcNoRelabeling?: boolean;
        /** Another storage class for it. */
        storageClass?: string;
      }>;
      /** How large a repository's cache may get, in MB. */
      cacheLimitMB?: number;
      /** How long a volume may take to be ready for its mover; 30m when left out. */
      dataMoverPrepareTimeout?: string;
      /** Whether there is a node-agent on each node. */
      enable?: boolean;
      /** How often a repository has full maintenance: normalGC is every 24 hours, fastGC every 12, eagerGC every 6. */
      fullMaintenanceInterval?: "normalGC" | "fastGC" | "eagerGC";
      /** On which nodes, as alternatives. */
      loadAffinity?: Array<{
        /** Labels of the nodes. */
        nodeSelector?: {
          /** Requirements, all of which must hold. */
          matchExpressions?: Array<{
            /** The label. */
            key: string;
            /** In, NotIn, Exists or DoesNotExist. */
            operator: string;
            /** Values for In and NotIn. */
            values?: string[];
          }>;
          /** Labels and the values they must have. */
          matchLabels?: Record<string, string>;
        };
      }>;
      /** How many volumes of one node are worked on at once. */
      loadConcurrency?: {
        /** On nodes that no rule is for. */
        globalConfig?: number;
        /** Rules for some nodes. */
        perNodeConfig?: Array<{
          /** Labels of the nodes. */
          nodeSelector: {
            /** Requirements, all of which must hold. */
            matchExpressions?: Array<{
              /** The label. */
              key: string;
              /** In, NotIn, Exists or DoesNotExist. */
              operator: string;
              /** Values for In and NotIn. */
              values?: string[];
            }>;
            /** Labels and the values they must have. */
            matchLabels?: Record<string, string>;
          };
          /** How many. */
          number: number;
        }>;
        /** How many volumes may be made ready at once, in all of the cluster; without limit when left out. */
        prepareQueueLength?: number;
      };
      /** Settings of its pods. */
      podConfig?: {
        /** Annotations of the pods. */
        annotations?: Record<string, string>;
        /** Environment variables. */
        env?: Array<{
          /** Name. */
          name: string;
          /** Value; $(NAME) stands for that of another. */
          value?: string;
          /** Where the value is taken from. */
          valueFrom?: {
            /** A key of a ConfigMap. */
            configMapKeyRef?: {
              /** The key within it. */
              key: string;
              /** Name. */
              name?: string;
              /** Whether it may be missing. */
              optional?: boolean;
            };
            /** A field of the pod. */
            fieldRef?: {
              /** The version of the schema that the path is of; v1 when left out. */
              apiVersion?: string;
              /** The path. */
              fieldPath: string;
            };
            /** A resource of a container. */
            resourceFieldRef?: {
              /** The container; its own when left out. */
              containerName?: string;
              /** The unit it is told in; 1 when left out. */
              divisor?: number | string;
              /** The resource. */
              resource: string;
            };
            /** A key of a Secret. */
            secretKeyRef?: {
              /** The key within it. */
              key: string;
              /** Name. */
              name?: string;
              /** Whether it may be missing. */
              optional?: boolean;
            };
          };
        }>;
        /** Labels added to the pods. */
        labels?: Record<string, string>;
        /** Labels of the nodes that they may run on. */
        nodeSelector?: Record<string, string>;
        /** CPU, memory and local storage of its containers. */
        resourceAllocations?: {
          /** Names of resource claims. */
          claims?: Array<{
            /** Name of the claim in the pod. */
            name: string;
            /** The request within it; all when left out. */
            request?: string;
          }>;
          /** At most this much. */
          limits?: Record<string, number | string>;
          /** At least this much. */
          requests?: Record<string, number | string>;
        } | null;
        /** Taints that the pods bear. */
        tolerations?: Array<{
          /** NoSchedule, PreferNoSchedule or NoExecute; every effect when left out. */
          effect?: string;
          /** The taint; every taint when left out, and then the operator is Exists. */
          key?: string;
          /** Exists or Equal; Equal when left out. */
          operator?: string;
          /** How long a NoExecute taint is borne; for ever when left out. */
          tolerationSeconds?: number;
          /** The value of the taint. */
          value?: string;
        }>;
      };
      /** CPU and memory of the pods it makes. */
      podResources?: {
        /** At most this much CPU. */
        cpuLimit?: string;
        /** At least this much CPU. */
        cpuRequest?: string;
        /** At most this much memory. */
        memoryLimit?: string;
        /** At least this much memory. */
        memoryRequest?: string;
      };
      /** How long resources are waited for; 10m when left out. */
      resourceTimeout?: string;
      /** The claims that movers fill. */
      restorePVC?: {
        /** Whether the mover chooses the node of a volume whose class waits for its first consumer. */
        ignoreDelayBinding?: boolean;
      };
      /** Groups that its processes belong to as well. */
      supplementalGroups?: number[];
      /** How long reading or filling one volume through the file system may take; 4h when left out. */
      timeout?: string;
      /** How volumes are read through the file system. Data are moved as kopia does it in any case. */
      uploaderType: "restic" | "kopia";
    };
    /** Where and with what repositories are maintained, by "global" or the repository. */
    repositoryMaintenance?: Record<string, {
      /** On which nodes, as alternatives. */
      loadAffinity?: Array<{
        /** Labels of the nodes. */
        nodeSelector?: {
          /** Requirements, all of which must hold. */
          matchExpressions?: Array<{
            /** The label. */
            key: string;
            /** In, NotIn, Exists or DoesNotExist. */
            operator: string;
            /** Values for In and NotIn. */
            values?: string[];
          }>;
          /** Labels and the values they must have. */
          matchLabels?: Record<string, string>;
        };
      }>;
      /** CPU and memory of the pods it makes. */
      podResources?: {
        /** At most this much CPU. */
        cpuLimit?: string;
        /** At least this much CPU. */
        cpuRequest?: string;
        /** At most this much memory. */
        memoryLimit?: string;
        /** At least this much memory. */
        memoryRequest?: string;
      };
    }>;
    /** Not used any more: nodeAgent takes its place. */
    restic?: {
      /** Whether there is a node-agent on each node. */
      enable?: boolean;
      /** Settings of its pods. */
      podConfig?: {
        /** Annotations of the pods. */
        annotations?: Record<string, string>;
        /** Environment variables. */
        env?: Array<{
          /** Name. */
          name: string;
          /** Value; $(NAME) stands for that of another. */
          value?: string;
          /** Where the value is taken from. */
          valueFrom?: {
            /** A key of a ConfigMap. */
            configMapKeyRef?: {
              /** The key within it. */
              key: string;
              /** Name. */
              name?: string;
              /** Whether it may be missing. */
              optional?: boolean;
            };
            /** A field of the pod. */
            fieldRef?: {
              /** The version of the schema that the path is of; v1 when left out. */
              apiVersion?: string;
              /** The path. */
              fieldPath: string;
            };
            /** A resource of a container. */
            resourceFieldRef?: {
              /** The container; its own when left out. */
              containerName?: string;
              /** The unit it is told in; 1 when left out. */
              divisor?: number | string;
              /** The resource. */
              resource: string;
            };
            /** A key of a Secret. */
            secretKeyRef?: {
              /** The key within it. */
              key: string;
              /** Name. */
              name?: string;
              /** Whether it may be missing. */
              optional?: boolean;
            };
          };
        }>;
        /** Labels added to the pods. */
        labels?: Record<string, string>;
        /** Labels of the nodes that they may run on. */
        nodeSelector?: Record<string, string>;
        /** CPU, memory and local storage of its containers. */
        resourceAllocations?: {
          /** Names of resource claims. */
          claims?: Array<{
            /** Name of the claim in the pod. */
            name: string;
            /** The request within it; all when left out. */
            request?: string;
          }>;
          /** At most this much. */
          limits?: Record<string, number | string>;
          /** At least this much. */
          requests?: Record<string, number | string>;
        } | null;
        /** Taints that the pods bear. */
        tolerations?: Array<{
          /** NoSchedule, PreferNoSchedule or NoExecute; every effect when left out. */
          effect?: string;
          /** The taint; every taint when left out, and then the operator is Exists. */
          key?: string;
          /** Exists or Equal; Equal when left out. */
          operator?: string;
          /** How long a NoExecute taint is borne; for ever when left out. */
          tolerationSeconds?: number;
          /** The value of the taint. */
          value?: string;
        }>;
      };
      /** Groups that its processes belong to as well. */
      supplementalGroups?: number[];
      /** How long reading or filling one volume through the file system may take; 4h when left out. */
      timeout?: string;
    };
    /** The server. */
    velero?: {
      /** Arguments of the server, which take the place of those made from other fields. */
      args?: {
        /** Whether its headers have the folder. */
        add_dir_header?: boolean;
        /** Whether the client library logs to standard error as well as to files. */
        alsologtostderr?: boolean;
        /** How often locations are looked through for backups. In nanoseconds. */
        "backup-sync-period"?: number;
        /** Requests to the API server at once. */
        "client-burst"?: number;
        /** Objects of one page of a list. */
        "client-page-size"?: number;
        /** Requests a second to the API server. */
        "client-qps"?: string;
        /** Whether output on a terminal has colors. */
        colorized?: boolean;
        /** How long backups are kept that do not say. In nanoseconds. */
        "default-backup-ttl"?: number;
        /** How long moving data may take. In nanoseconds. */
        "default-item-operation-timeout"?: number;
        /** How often new repositories are maintained. In nanoseconds. */
        "default-repo-maintain-frequency"?: number;
        /** Whether volumes are read through the file system unless a backup says otherwise. */
        "default-volumes-to-fs-backup"?: boolean;
        /** Controllers that do not run. */
        "disabled-controllers"?: "backup" | "backup-operations" | "backup-deletion" | "backup-finalizer" | "backup-sync" | "download-request" | "gc" | "backup-repo" | "restore" | "restore-operations" | "schedule" | "server-status-request";
        /** How long reading or filling one volume through the file system may take. In nanoseconds. */
        "fs-backup-timeout"?: number;
        /** How often backups are looked through for those whose time is over. In nanoseconds. */
        "garbage-collection-frequency"?: number;
        /** How often data movements are looked at. In nanoseconds. */
        "item-operation-sync-frequency"?: number;
        /** How the log is written. */
        "log-format"?: "text" | "json";
        /** Where in the client library a stack is logged, as file:line. */
        log_backtrace_at?: string;
        /** The folder of its log files. */
        log_dir?: string;
        /** Its log file. */
        log_file?: string;
        /** How large its log file may get, in MB. */
        log_file_max_size?: number;
        /** Whether the client library logs to standard error. */
        logtostderr?: boolean;
        /** Connections to the API server at once. */
        "max-concurrent-k8s-connections"?: number;
        /** Where metrics are served. */
        "metrics-address"?: string;
        /** Whether each line goes to the file of its severity only. */
        one_output?: boolean;
        /** Where a profiler is served. */
        "profiler-address"?: string;
        /** How long resources are waited for. In nanoseconds. */
        "resource-timeout"?: number;
        /** The order in which resources come back: those before "-" first, those after it last. */
        "restore-resource-priorities"?: string;
        /** Whether its lines have no header. */
        skip_headers?: boolean;
        /** Whether its files have no header. */
        skip_log_headers?: boolean;
        /** From which severity on it logs to standard error. */
        stderrthreshold?: number;
        /** How often locations are checked. In nanoseconds. */
        "store-validation-frequency"?: number;
        /** How long a restore waits for what is being deleted. In nanoseconds. */
        "terminating-resource-timeout"?: number;
        /** How much the client library logs. */
        v?: number;
        /** How much of which file of the client library is logged. */
        vmodule?: string;
      };
      /** Requests to the API server at once; 100 when left out. */
      "client-burst"?: number;
      /** Requests a second to the API server; 100 when left out. */
      "client-qps"?: number;
      /** How many backups of different namespaces run at once; 1 when left out. */
      concurrentBackups?: number;
      /** Plug-ins of others. */
      customPlugins?: Array<{
        /** Its image. */
        image: string;
        /** The name of its init container. */
        name: string;
      }>;
      /** How long moving data may take; 1h when left out. */
      defaultItemOperationTimeout?: string;
      /** Plug-ins that belong to the product. */
      defaultPlugins?: Array<"aws" | "legacy-aws" | "gcp" | "azure" | "csi" | "vsm" | "openshift" | "kubevirt" | "hypershift">;
      /** Whether the data of snapshots are moved to the backup location unless a backup says otherwise. */
      defaultSnapshotMoveData?: boolean;
      /** Whether volumes are read through the file system unless a backup says otherwise. */
      defaultVolumesToFSBackup?: boolean;
      /** Whether the node-agent runs without privileges, and so cannot read volumes of pods through the file system. */
      disableFsBackup?: boolean;
      /** Whether a restore asks the API server for each object instead of a cache. */
      disableInformerCache?: boolean;
      /** Features that are switched on, such as EnableCSI; no-secret leaves out the checks of credentials. */
      featureFlags?: string[];
      /** Applications of one backup that are worked on at once. */
      itemBlockWorkerCount?: number;
      /** How often data movements are looked at; 2m when left out. */
      itemOperationSyncFrequency?: string;
      /** On which nodes, as alternatives. */
      loadAffinity?: Array<{
        /** Labels of the nodes. */
        nodeSelector?: {
          /** Requirements, all of which must hold. */
          matchExpressions?: Array<{
            /** The label. */
            key: string;
            /** In, NotIn, Exists or DoesNotExist. */
            operator: string;
            /** Values for In and NotIn. */
            values?: string[];
          }>;
          /** Labels and the values they must have. */
          matchLabels?: Record<string, string>;
        };
      }>;
      /** How much the server logs. */
      logLevel?: "trace" | "debug" | "info" | "warning" | "error" | "fatal" | "panic";
      /** Whether there may be no backup location, or none that is the default. */
      noDefaultBackupLocation?: boolean;
      /** Settings of its pods. */
      podConfig?: {
        /** Annotations of the pods. */
        annotations?: Record<string, string>;
        /** Environment variables. */
        env?: Array<{
          /** Name. */
          name: string;
          /** Value; $(NAME) stands for that of another. */
          value?: string;
          /** Where the value is taken from. */
          valueFrom?: {
            /** A key of a ConfigMap. */
            configMapKeyRef?: {
              /** The key within it. */
              key: string;
              /** Name. */
              name?: string;
              /** Whether it may be missing. */
              optional?: boolean;
            };
            /** A field of the pod. */
            fieldRef?: {
              /** The version of the schema that the path is of; v1 when left out. */
              apiVersion?: string;
              /** The path. */
              fieldPath: string;
            };
            /** A resource of a container. */
            resourceFieldRef?: {
              /** The container; its own when left out. */
              containerName?: string;
              /** The unit it is told in; 1 when left out. */
              divisor?: number | string;
              /** The resource. */
              resource: string;
            };
            /** A key of a Secret. */
            secretKeyRef?: {
              /** The key within it. */
              key: string;
              /** Name. */
              name?: string;
              /** Whether it may be missing. */
              optional?: boolean;
            };
          };
        }>;
        /** Labels added to the pods. */
        labels?: Record<string, string>;
        /** Labels of the nodes that they may run on. */
        nodeSelector?: Record<string, string>;
        /** CPU, memory and local storage of its containers. */
        resourceAllocations?: {
          /** Names of resource claims. */
          claims?: Array<{
            /** Name of the claim in the pod. */
            name: string;
            /** The request within it; all when left out. */
            request?: string;
          }>;
          /** At most this much. */
          limits?: Record<string, number | string>;
          /** At least this much. */
          requests?: Record<string, number | string>;
        } | null;
        /** Taints that the pods bear. */
        tolerations?: Array<{
          /** NoSchedule, PreferNoSchedule or NoExecute; every effect when left out. */
          effect?: string;
          /** The taint; every taint when left out, and then the operator is Exists. */
          key?: string;
          /** Exists or Equal; Equal when left out. */
          operator?: string;
          /** How long a NoExecute taint is borne; for ever when left out. */
          tolerationSeconds?: number;
          /** The value of the taint. */
          value?: string;
        }>;
      };
      /** How long resources are waited for; 10m when left out. */
      resourceTimeout?: string;
      /** Which versions of which groups are restored first, as the text of a ConfigMap. */
      restoreResourcesVersionPriority?: string;
    };
  };
  /** Features of earlier releases. */
  features?: {
    /** The data mover of OADP 1.1 and 1.2. */
    dataMover?: {
      /** The Secret with the restic password. */
      credentialName?: string;
      /** Whether it runs. */
      enable?: boolean;
      /** Volumes backed up at once; 10 when left out. */
      maxConcurrentBackupVolumes?: string;
      /** Volumes restored at once; 10 when left out. */
      maxConcurrentRestoreVolumes?: string;
      /** How often the repositories are pruned, in days. */
      pruneInterval?: string;
      /** When volumes are synchronized, as a cron expression. */
      schedule?: string;
      /** How many snapshots are kept. */
      snapshotRetainPolicy?: {
        /** Daily ones. */
        daily?: string;
        /** Hourly ones. */
        hourly?: string;
        /** Monthly ones. */
        monthly?: string;
        /** Weekly ones. */
        weekly?: string;
        /** All of this time. */
        within?: string;
        /** Yearly ones. */
        yearly?: string;
      };
      /** How long one volume may take; 10m when left out. */
      timeout?: string;
      /** Options of volumes, by storage class. */
      volumeOptionsForStorageClasses?: Record<string, {
        /** The volume that is filled. */
        destinationVolumeOptions?: {
          /** The access mode, instead of the claim's own. */
          accessMode?: string;
          /** The access mode of the cache volume. */
          cacheAccessMode?: string;
          /** How large the cache volume is. */
          cacheCapacity?: string;
          /** The storage class of the cache volume. */
          cacheStorageClassName?: string;
          /** The storage class, instead of the claim's own. */
          storageClassName?: string;
        };
        /** The volume that is read. */
        sourceVolumeOptions?: {
          /** The access mode, instead of the claim's own. */
          accessMode?: string;
          /** The access mode of the cache volume. */
          cacheAccessMode?: string;
          /** How large the cache volume is. */
          cacheCapacity?: string;
          /** The storage class of the cache volume. */
          cacheStorageClassName?: string;
          /** The storage class, instead of the claim's own. */
          storageClassName?: string;
        };
      }>;
    };
  };
  /** When images are fetched; IfNotPresent for those named by digest and Always for others when left out. */
  imagePullPolicy?: "Always" | "IfNotPresent" | "Never";
  /** How logs are written. */
  logFormat?: "text" | "json";
  /** Backups and restores by users who do not administrate the cluster. */
  nonAdmin?: {
    /** How often backups are brought into their namespaces; 2m when left out, 0 means never. */
    backupSyncPeriod?: string;
    /** Whether there are any. */
    enable?: boolean;
    /** Fields of a location that users cannot choose. */
    enforceBSLSpec?: {
      /** Whether backups may be written. */
      accessMode?: "ReadOnly" | "ReadWrite";
      /** How often the location is looked through for backups; 0 means never. */
      backupSyncPeriod?: string | null;
      /** Settings of the provider. */
      config?: Record<string, string>;
      /** The key of a Secret that holds credentials for the store. */
      credential?: {
        /** The key within it. */
        key: string;
        /** Name. */
        name?: string;
        /** Whether it may be missing. */
        optional?: boolean;
      };
      /** The bucket. */
      objectStorage?: {
        /** Name of the bucket. */
        bucket?: string;
        /** PEM of a CA to trust beside the system's, in base64. */
        caCert?: string;
        /** Folder in the bucket. */
        prefix?: string;
      } | null;
      /** Name of the provider. */
      provider?: string;
      /** How often the location is checked; 0 means never. */
      validationFrequency?: string | null;
    };
    /** Fields of a Backup that users cannot choose. */
    enforceBackupSpec?: {
      /** How long a CSI snapshot may take to get its handle; 10m when empty. */
      csiSnapshotTimeout?: string;
      /** Name of the mover; empty and velero mean the built-in one. */
      datamover?: string;
      /** Whether volumes are read through the file system unless a pod says otherwise. */
      defaultVolumesToFsBackup?: boolean | null;
      /** The old name of defaultVolumesToFsBackup. */
      defaultVolumesToRestic?: boolean | null;
      /** Cluster-scoped resources to leave out. */
      excludedClusterScopedResources?: string[] | null;
      /** Namespaced resources to leave out. */
      excludedNamespaceScopedResources?: string[] | null;
      /** Namespaces to leave out. */
      excludedNamespaces?: string[] | null;
      /** Resources to leave out. */
      excludedResources?: string[] | null;
      /** Commands run in pods around the work. */
      hooks?: {
        /** Which pods, and what is run. */
        resources?: Array<{
          /** Namespaces to leave out. */
          excludedNamespaces?: string[] | null;
          /** Resources to leave out. */
          excludedResources?: string[] | null;
          /** Namespaces to take; all when empty. Patterns with * are understood. */
          includedNamespaces?: string[] | null;
          /** Resources to take; all when empty. */
          includedResources?: string[] | null;
          /** Only what carries these labels. */
          labelSelector?: {
            /** Conditions on labels; all must hold. */
            matchExpressions?: Array<{
              /** The key within it. */
              key: string;
              /** In, NotIn, Exists or DoesNotExist. */
              operator: string;
              /** The values meant. */
              values?: string[];
            }>;
            /** Labels with these values; all must be there. */
            matchLabels?: Record<string, string>;
          } | null;
          /** Name. */
          name: string;
          /** Commands run after. */
          post?: Array<{
            /** A command run in a container. */
            exec: {
              /** The command and its arguments; no shell is added. */
              command: string[];
              /** Name of the container; the pod's first one when empty. */
              container?: string;
              /** Whether a failure of the command fails the pod's backup: Continue or Fail. */
              onError?: "Continue" | "Fail";
              /** How long it may take. */
              timeout?: string;
            };
          }>;
          /** Commands run before. */
          pre?: Array<{
            /** A command run in a container. */
            exec: {
              /** The command and its arguments; no shell is added. */
              command: string[];
              /** Name of the container; the pod's first one when empty. */
              container?: string;
              /** Whether a failure of the command fails the pod's backup: Continue or Fail. */
              onError?: "Continue" | "Fail";
              /** How long it may take. */
              timeout?: string;
            };
          }>;
        }> | null;
      };
      /** Whether cluster-scoped resources are taken: all, none, or as needed when empty. */
      includeClusterResources?: boolean | null;
      /** Cluster-scoped resources to take. */
      includedClusterScopedResources?: string[] | null;
      /** Namespaced resources to take. */
      includedNamespaceScopedResources?: string[] | null;
      /** Namespaces to take; all when empty. Patterns with * are understood. */
      includedNamespaces?: string[] | null;
      /** Resources to take; all when empty. */
      includedResources?: string[] | null;
      /** How long asynchronous work such as moving data may take; 4h when empty. */
      itemOperationTimeout?: string;
      /** Only what carries these labels. */
      labelSelector?: {
        /** Conditions on labels; all must hold. */
        matchExpressions?: Array<{
          /** The key within it. */
          key: string;
          /** In, NotIn, Exists or DoesNotExist. */
          operator: string;
          /** The values meant. */
          values?: string[];
        }>;
        /** Labels with these values; all must be there. */
        matchLabels?: Record<string, string>;
      } | null;
      /** Labels and annotations for what is made. */
      metadata?: {
        /** Labels. */
        labels?: Record<string, string>;
      };
      /** What matches any of these selectors. */
      orLabelSelectors?: Array<{
        /** Conditions on labels; all must hold. */
        matchExpressions?: Array<{
          /** The key within it. */
          key: string;
          /** In, NotIn, Exists or DoesNotExist. */
          operator: string;
          /** The values meant. */
          values?: string[];
        }>;
        /** Labels with these values; all must be there. */
        matchLabels?: Record<string, string>;
      }> | null;
      /** Order within a resource: its plural, then namespace/name in a comma list. */
      orderedResources?: Record<string, string> | null;
      /** A ConfigMap that says what happens to which volume. */
      resourcePolicy?: {
        /** API group of the object meant. */
        apiGroup?: string;
        /** configmap. */
        kind: string;
        /** Name. */
        name: string;
      };
      /** Whether the data of snapshots is moved to the backup location. */
      snapshotMoveData?: boolean | null;
      /** Whether snapshots are taken of volumes. */
      snapshotVolumes?: boolean | null;
      /** Name of the backup location; the default one when empty. */
      storageLocation?: string;
      /** How long it is kept; 720h when empty. */
      ttl?: string;
      /** Settings of the uploader. */
      uploaderConfig?: {
        /** Files read at once. */
        parallelFilesUpload?: number;
      } | null;
      /** The label whose value joins volumes that are cut at one moment. */
      volumeGroupSnapshotLabelKey?: string;
      /** Places of native snapshots. */
      volumeSnapshotLocations?: string[];
    };
    /** Fields of a Restore that users cannot choose. */
    enforceRestoreSpec?: {
      /** Name of the backup. */
      backupName?: string;
      /** Namespaces to leave out. */
      excludedNamespaces?: string[] | null;
      /** Resources to leave out. */
      excludedResources?: string[] | null;
      /** What to do with a resource that exists already: none or update. */
      existingResourcePolicy?: string | null;
      /** Commands run in pods once they are back. */
      hooks?: {
        /** Which pods, and what is run. */
        resources?: Array<{
          /** Namespaces to leave out. */
          excludedNamespaces?: string[] | null;
          /** Resources to leave out. */
          excludedResources?: string[] | null;
          /** Namespaces to take; all when empty. Patterns with * are understood. */
          includedNamespaces?: string[] | null;
          /** Resources to take; all when empty. */
          includedResources?: string[] | null;
          /** Only what carries these labels. */
          labelSelector?: {
            /** Conditions on labels; all must hold. */
            matchExpressions?: Array<{
              /** The key within it. */
              key: string;
              /** In, NotIn, Exists or DoesNotExist. */
              operator: string;
              /** The values meant. */
              values?: string[];
            }>;
            /** Labels with these values; all must be there. */
            matchLabels?: Record<string, string>;
          } | null;
          /** Name. */
          name: string;
          /** Hooks run after the pod is created. */
          postHooks?: Array<{
            /** A command run in a container. */
            exec?: {
              /** The command and its arguments; no shell is added. */
              command: string[];
              /** Name of the container; the pod's first one when empty. */
              container?: string;
              /** How long the command may take. */
              execTimeout?: string;
              /** Whether a failure of the command fails the pod's backup: Continue or Fail. */
              onError?: "Continue" | "Fail";
              /** Whether the container must be ready first. */
              waitForReady?: boolean | null;
              /** How long to wait for the container. */
              waitTimeout?: string;
            };
            /** Containers run before the pod's own. */
            init?: {
              /** The containers to add. */
              initContainers?: Record<string, unknown>[];
              /** How long it may take. */
              timeout?: string;
            };
          }>;
        }>;
      };
      /** Whether cluster-scoped resources are taken: all, none, or as needed when empty. */
      includeClusterResources?: boolean | null;
      /** Namespaces to take; all when empty. Patterns with * are understood. */
      includedNamespaces?: string[] | null;
      /** Resources to take; all when empty. */
      includedResources?: string[] | null;
      /** How long asynchronous work such as moving data may take; 4h when empty. */
      itemOperationTimeout?: string;
      /** Only what carries these labels. */
      labelSelector?: {
        /** Conditions on labels; all must hold. */
        matchExpressions?: Array<{
          /** The key within it. */
          key: string;
          /** In, NotIn, Exists or DoesNotExist. */
          operator: string;
          /** The values meant. */
          values?: string[];
        }>;
        /** Labels with these values; all must be there. */
        matchLabels?: Record<string, string>;
      } | null;
      /** Namespaces to restore into, by the name they had. */
      namespaceMapping?: Record<string, string>;
      /** What matches any of these selectors. */
      orLabelSelectors?: Array<{
        /** Conditions on labels; all must hold. */
        matchExpressions?: Array<{
          /** The key within it. */
          key: string;
          /** In, NotIn, Exists or DoesNotExist. */
          operator: string;
          /** The values meant. */
          values?: string[];
        }>;
        /** Labels with these values; all must be there. */
        matchLabels?: Record<string, string>;
      }> | null;
      /** Whether services keep their node ports. */
      preserveNodePorts?: boolean | null;
      /** A ConfigMap with changes made to resources on their way. */
      resourceModifier?: {
        /** API group of the object meant. */
        apiGroup?: string;
        /** configmap. */
        kind: string;
        /** Name. */
        name: string;
      } | null;
      /** A ConfigMap that says what happens to which volume. */
      resourcePolicy?: {
        /** API group of the object meant. */
        apiGroup?: string;
        /** The kind of this object. */
        kind: string;
        /** Name. */
        name: string;
      } | null;
      /** Whether volumes and their data come back. */
      restorePVs?: boolean | null;
      /** Resources whose status comes back too. */
      restoreStatus?: {
        /** Resources to leave out. */
        excludedResources?: string[] | null;
        /** Resources to take; all when empty. */
        includedResources?: string[] | null;
      } | null;
      /** The schedule whose newest backup is meant, when no backup is named. */
      scheduleName?: string;
      /** Settings of the uploader. */
      uploaderConfig?: {
        /** Files written at once. */
        parallelFilesDownload?: number;
        /** Whether runs of zeros become holes. */
        writeSparseFiles?: boolean | null;
      } | null;
    };
    /** How often leftovers are looked for; 24h when left out, 0 means never. */
    garbageCollectionPeriod?: string;
    /** Whether an administrator must approve their locations. */
    requireApprovalForBSL?: boolean;
  };
  /** Annotations added to the pods. */
  podAnnotations?: Record<string, string>;
  /** Name servers and search domains beside those of the policy. */
  podDnsConfig?: {
    /** Addresses of name servers. */
    nameservers?: string[];
    /** Options of the resolver. */
    options?: Array<{
      /** Name. */
      name?: string;
      /** Value. */
      value?: string;
    }>;
    /** Search domains. */
    searches?: string[];
  };
  /** How the pods resolve names. */
  podDnsPolicy?: string;
  /** Annotations of everything that is made. */
  resourceAnnotations?: Record<string, string>;
  /** Labels of everything that is made. They take the place of none that it needs itself. */
  resourceLabels?: Record<string, string>;
  /** Where native snapshots are kept. */
  snapshotLocations?: Array<{
    /** Its name; that of the application and its number when left out. */
    name?: string;
    /** The location as Velero has it. */
    velero: {
      /** Settings of the provider, such as region and s3Url. */
      config?: Record<string, string>;
      /** The key of a Secret that holds credentials for the store. */
      credential?: {
        /** The key within it. */
        key: string;
        /** Name. */
        name?: string;
        /** Whether it may be missing. */
        optional?: boolean;
      };
      /** Name of the provider. */
      provider: string;
    };
  }>;
  /** Images instead of the product's own, by keys such as veleroImageFqin; operator-type. */
  unsupportedOverrides?: Record<string, string>;
}

export interface DataProtectionApplicationStatus {
  /** Whether what is wanted is there. */
  conditions?: Array<{
    /** When the status changed last. */
    lastTransitionTime: string;
    /** What it means, for people. */
    message: string;
    /** The generation that it was found for. */
    observedGeneration?: number;
    /** What it means, for programs. */
    reason: string;
    /** True, False or Unknown. */
    status: "True" | "False" | "Unknown";
    /** What it is about. */
    type: string;
  }>;
}

export interface DataProtectionApplication {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: DataProtectionApplicationSpec;
  status?: DataProtectionApplicationStatus;
}

export const dataProtectionApplications: KindDescriptor<DataProtectionApplication> = { group: "oadp.openshift.io", version: "v1alpha1", plural: "dataprotectionapplications", kind: "DataProtectionApplication", namespaced: true };
