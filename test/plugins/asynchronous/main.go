// A plug-in on Velero's own framework, for tests of our host: every kind of item action, with work that goes on after its item.
// What it knows lies in PLUGIN_STATE, so that another process goes on where one was killed:
//
//	<operation>.began      it is under way
//	<operation>.done       the test lets it end
//	<operation>.canceled   it was told to stop
//	deleted.<name>         an item was deleted
package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	api "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	riav2 "github.com/vmware-tanzu/velero/pkg/plugin/velero/restoreitemaction/v2"
)

const selector = "plugin=yes"

func main() {
	server := framework.NewServer()
	server.RegisterBackupItemAction("drayage.test/labels", func(logrus.FieldLogger) (any, error) { return labels{}, nil })
	server.RegisterBackupItemActionV2("drayage.test/slow", func(logrus.FieldLogger) (any, error) { return slow{}, nil })
	server.RegisterRestoreItemAction("drayage.test/notes", func(logrus.FieldLogger) (any, error) { return notes{}, nil })
	server.RegisterRestoreItemActionV2("drayage.test/slow", func(logrus.FieldLogger) (any, error) { return slowBack{}, nil })
	server.RegisterDeleteItemAction("drayage.test/gone", func(logrus.FieldLogger) (any, error) { return gone{}, nil })
	server.Serve()
}

func state(name string) string { return filepath.Join(os.Getenv("PLUGIN_STATE"), name) }

func write(name string) error { return os.WriteFile(state(name), nil, 0o600) }

func exists(name string) bool {
	_, err := os.Stat(state(name))
	return err == nil
}

// misbehave does what an annotation of the item asks for.
func misbehave(item *unstructured.Unstructured) {
	switch item.GetAnnotations()["drayage.test/misbehave"] {
	case "crash":
		os.Exit(3)
	case "hang":
		time.Sleep(time.Hour)
	case "panic":
		panic("as the annotation says")
	}
}

func annotated(item runtime.Unstructured, key, value string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: item.UnstructuredContent()}
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	object.SetAnnotations(annotations)
	return object
}

type labels struct{}

func (labels) AppliesTo() (velero.ResourceSelector, error) {
	return velero.ResourceSelector{IncludedResources: []string{"cm"}, LabelSelector: selector}, nil
}

// Execute brings the Secret of the same name along.
func (labels) Execute(item runtime.Unstructured, _ *api.Backup) (runtime.Unstructured, []velero.ResourceIdentifier, error) {
	object := annotated(item, "drayage.test/labels", "seen")
	misbehave(object)
	also := velero.ResourceIdentifier{GroupResource: schema.GroupResource{Resource: "secrets"}, Namespace: object.GetNamespace(), Name: object.GetName()}
	return object, []velero.ResourceIdentifier{also}, nil
}

type slow struct{}

func (slow) Name() string { return "slow" }

func (slow) AppliesTo() (velero.ResourceSelector, error) {
	return velero.ResourceSelector{IncludedResources: []string{"configmaps"}, LabelSelector: "slow=yes"}, nil
}

func (slow) Execute(item runtime.Unstructured, backup *api.Backup) (runtime.Unstructured, []velero.ResourceIdentifier, string, []velero.ResourceIdentifier, error) {
	object := annotated(item, "drayage.test/slow", backup.Name)
	operation := "backup-" + backup.Name + "-" + object.GetName()
	self := velero.ResourceIdentifier{GroupResource: schema.GroupResource{Resource: "configmaps"}, Namespace: object.GetNamespace(), Name: object.GetName()}
	return object, nil, operation, []velero.ResourceIdentifier{self}, write(operation + ".began")
}

func progressOf(operation string) velero.OperationProgress {
	progress := velero.OperationProgress{NTotal: 2, OperationUnits: "Steps", Description: "Working", Started: time.Unix(1700000000, 0), Updated: time.Now()}
	switch {
	case exists(operation + ".done"):
		progress.Completed, progress.NCompleted = true, 2
	case !exists(operation + ".began"), exists(operation + ".canceled"):
		progress.Completed, progress.Err = true, "nobody works on "+operation
	default:
		progress.NCompleted = 1
	}
	return progress
}

func (slow) Progress(operation string, _ *api.Backup) (velero.OperationProgress, error) {
	return progressOf(operation), nil
}

func (slow) Cancel(operation string, _ *api.Backup) error { return write(operation + ".canceled") }

type notes struct{}

func (notes) AppliesTo() (velero.ResourceSelector, error) {
	return velero.ResourceSelector{IncludedResources: []string{"configmaps"}, LabelSelector: selector}, nil
}

func (notes) Execute(input *velero.RestoreItemActionExecuteInput) (*velero.RestoreItemActionExecuteOutput, error) {
	object := annotated(input.Item, "drayage.test/notes", input.Restore.Name)
	out := velero.NewRestoreItemActionExecuteOutput(object)
	if object.GetAnnotations()["drayage.test/skip"] == "yes" {
		return out.WithoutRestore(), nil
	}
	return out, nil
}

type slowBack struct{}

var _ riav2.RestoreItemAction = slowBack{}

func (slowBack) Name() string { return "slow" }

func (slowBack) AppliesTo() (velero.ResourceSelector, error) {
	return velero.ResourceSelector{IncludedResources: []string{"configmaps"}, LabelSelector: "slow=yes"}, nil
}

func (slowBack) Execute(input *velero.RestoreItemActionExecuteInput) (*velero.RestoreItemActionExecuteOutput, error) {
	object := annotated(input.Item, "drayage.test/slow-back", input.Restore.Name)
	operation := "restore-" + input.Restore.Name + "-" + object.GetName()
	return velero.NewRestoreItemActionExecuteOutput(object).WithOperationID(operation), write(operation + ".began")
}

func (slowBack) Progress(operation string, _ *api.Restore) (velero.OperationProgress, error) {
	return progressOf(operation), nil
}

func (slowBack) Cancel(operation string, _ *api.Restore) error { return write(operation + ".canceled") }

func (slowBack) AreAdditionalItemsReady([]velero.ResourceIdentifier, *api.Restore) (bool, error) {
	return true, nil
}

type gone struct{}

func (gone) AppliesTo() (velero.ResourceSelector, error) {
	return velero.ResourceSelector{IncludedResources: []string{"configmaps"}, LabelSelector: selector}, nil
}

func (gone) Execute(input *velero.DeleteItemActionExecuteInput) error {
	object := &unstructured.Unstructured{Object: input.Item.UnstructuredContent()}
	return write("deleted." + strings.ReplaceAll(object.GetName(), "/", "_"))
}
