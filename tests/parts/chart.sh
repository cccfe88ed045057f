#!/usr/bin/env bash
# Checks the chart with the tools of its users: helm renders and lints every file of ci/, kubeconform holds the objects against schemas
# made from the API's own description, kube-score judges them, promtool tests the alerts, and the program itself runs with the configuration,
# probed and drained as the kubelet would do it and scraped by a real Prometheus.
#
#   tests/parts/chart.sh            everything; SAFEGUARD_BIN names the program (default: the debug build)
#   tests/parts/chart.sh install    the tools only
#   UPDATE_DOCS=1 tests/parts/chart.sh   also makes the table of values anew
#
# The tools are built once from their Go modules (Helm's takes minutes), by version, under ${XDG_CACHE_HOME:-~/.cache}/safeguard.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root="$PWD"
# shellcheck source=tests/parts/install.sh
source tests/parts/install.sh

# One version each; a newer one is tried by changing it here.
readonly HELM_TOOL=helm.sh/helm/v4/cmd/helm@v4.3.1
readonly KUBECONFORM=github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
readonly KUBE_SCORE=github.com/zegl/kube-score/cmd/kube-score@v1.20.0
readonly KUBERNETES=k8s.io/kubernetes@v1.36.3
readonly PROMETHEUS_OPERATOR=github.com/prometheus-operator/prometheus-operator@v0.85.0
readonly CERT_MANAGER=github.com/cert-manager/cert-manager@v1.21.2
readonly EXTERNAL_SECRETS=github.com/external-secrets/external-secrets@v1.3.2
readonly PYYAML=pyyaml==6.0.3
# The oldest Kubernetes that the chart takes.
readonly OLDEST=v1.33

# --- tools -------------------------------------------------------------------------------------------------------------

make_go_tool() { GOBIN="$2" go install "$1"; }
make_helm() { make_go_tool "$HELM_TOOL" "$1"; }
make_kubeconform() { make_go_tool "$KUBECONFORM" "$1"; }
make_kube_score() { make_go_tool "$KUBE_SCORE" "$1"; }

make_yaml_python() {
  python3 -m venv "$1"
  "$1/bin/pip" install -q --disable-pip-version-check "$PYYAML"
}

# Debian's package is unpacked and not installed: installing it would start a server.
make_prometheus() {
  (cd "$1" && { apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }; } && dpkg -x prometheus_*.deb . && rm prometheus_*.deb)
}

module() { go mod download -json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])'; }

make_schemas() {
  local kubernetes operator certificates secrets
  kubernetes="$(module "$KUBERNETES")" operator="$(module "$PROMETHEUS_OPERATOR")"
  certificates="$(module "$CERT_MANAGER")" secrets="$(module "$EXTERNAL_SECRETS")"
  "$yaml_python" helm/tests/schemas.py "$kubernetes/api/openapi-spec/swagger.json" "$1" \
    "$operator"/example/prometheus-operator-crd/monitoring.coreos.com_{prometheusrules,podmonitors,servicemonitors}.yaml \
    "$certificates/deploy/crds/cert-manager.io_certificates.yaml" \
    "$secrets/config/crds/bases/external-secrets.io_externalsecrets.yaml"
}

tool() { # tool NAME INSTALLER WHAT-IT-IS-MADE-OF…: the folder of a cached tool
  local name="$1" installer="$2" made
  made="$1-$(printf '%s\n' "${@:3}" | digest)"
  cached "$made" "$installer" >&2
  printf '%s\n' "$cache/$made"
}

install_tools() {
  have go || die "needs Go 1.21 or newer (a newer toolchain is fetched by itself): Debian 12's own is too old"
  have python3 || die "needs python3"
  local folder
  folder="$(tool yaml-python make_yaml_python "$PYYAML")"; yaml_python="$folder/bin/python"
  folder="$(tool schemas make_schemas "$KUBERNETES" "$PROMETHEUS_OPERATOR" "$CERT_MANAGER" "$EXTERNAL_SECRETS" "$(digest helm/tests/schemas.py)")"; schemas="$folder"
  folder="$(tool helm make_helm "$HELM_TOOL")"; export HELM="$folder/helm"
  folder="$(tool kubeconform make_kubeconform "$KUBECONFORM")"; kubeconform="$folder/kubeconform"
  folder="$(tool kube-score make_kube_score "$KUBE_SCORE")"; kube_score="$folder/kube-score"
  folder="$(tool prometheus make_prometheus debian-12)"; export PROMTOOL="$folder/usr/bin/promtool" PROMETHEUS="$folder/usr/bin/prometheus"
}

# --- checks ------------------------------------------------------------------------------------------------------------

# One file of ci/: linted, rendered, held against the schemas, judged.
checked() {
  local values="$1" name rendered ignored=()
  name="$(basename "$values" -values.yaml)" rendered="$work/$name.yaml"
  "$HELM" lint --strict --quiet helm/safeguard --values "$values"
  "$HELM" template rel helm/safeguard --namespace clinic --values "$values" >"$rendered"
  "$kubeconform" -strict -summary -schema-location "$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" <"$rendered"
  # OpenShift gives the users itself, and its example leaves connections out to the cluster's own policy.
  [ "$name" != openshift ] || ignored=(--ignore-test container-security-context-user-group-id --ignore-test pod-networkpolicy)
  "$kube_score" score --kubernetes-version "$OLDEST" --exit-one-on-warning --output-format ci "${ignored[@]}" "$rendered" >"$work/$name.score" ||
    { grep -E '^\[(CRITICAL|WARNING)\]' "$work/$name.score" >&2; die "kube-score finds fault with $values"; }
}

# kubeconform proves something only if it refuses what is wrong.
refuses_what_is_misspelt() {
  ! sed 's/readinessProbe/readynessProbe/' "$work/minimal.yaml" |
    "$kubeconform" -strict -schema-location "$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" >/dev/null || die "kubeconform takes a misspelt field"
}

main() {
  install_tools
  [ "${1:-}" != install ] || return 0
  SAFEGUARD_BIN="${SAFEGUARD_BIN:-$(target_folder)/debug/safeguard}"
  export SAFEGUARD_BIN
  [ -x "$SAFEGUARD_BIN" ] || die "no program at $SAFEGUARD_BIN: run \`cargo build --locked -p safeguard\`, or name one in SAFEGUARD_BIN"
  work="$(mktemp -d "${TMPDIR:-/tmp}/safeguard-chart.XXXXXX")"
  trap 'rm -rf "$work"' EXIT
  local values
  for values in helm/safeguard/ci/*-values.yaml; do
    printf '=== %s\n' "$values"
    checked "$values"
  done
  refuses_what_is_misspelt
  printf '=== tests of the chart\n'
  (cd helm/tests && PYTHONDONTWRITEBYTECODE=1 "$yaml_python" -m unittest)
}

main "$@"
