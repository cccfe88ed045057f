# Gets the real parts, sourced by tests/run and tests/soak. Every part has one version, is kept under $cache by that version,
# and a part that cannot be had ends the run: a test that quietly skips its real counterpart proves nothing.
# shellcheck shell=bash

readonly KEYCLOAK=26.7.3
readonly GO_EVERYTHING=github.com/modelcontextprotocol/go-sdk/conformance/everything-server@v1.8.0
readonly POSTGRESQL=15
readonly MINIO=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

cache="${XDG_CACHE_HOME:-$HOME/.cache}/safeguard"
parts="$root/tests/parts"

die() { printf 'tests: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
target_folder() {
  cargo metadata --locked --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}
digest() { cat "$@" | sha256sum | cut -c1-12; }

# cached NAME INSTALLER: runs INSTALLER with an empty folder unless an earlier run completed it.
cached() {
  local folder="$cache/$1" installer="$2"
  if [ ! -f "$folder/.complete" ]; then
    rm -rf "$folder" && mkdir -p "$folder"
    "$installer" "$folder"
    touch "$folder/.complete"
  fi
}

# --- Debian's packages -------------------------------------------------------------------------------------------------

# needs_of_this_machine: the packages that are missing here, one a line.
needs_of_this_machine() {
  have openssl || echo openssl
  have python3 || echo python3
  python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
  have javac || echo openjdk-17-jdk-headless
  have mvn || echo maven
  have node || echo nodejs
  have npm || echo npm
  have softhsm2-util || echo softhsm2
  have chromium || echo chromium
  have chromedriver || echo chromium-driver
  have certutil || echo libnss3-tools
  have redis-server || echo redis-server
  [ -x /usr/sbin/rsyslogd ] || echo rsyslog
  ls /usr/lib/*/rsyslog/lmnsd_ossl.so >/dev/null 2>&1 || echo rsyslog-openssl
  [ -x "/usr/lib/postgresql/$POSTGRESQL/bin/postgres" ] || echo "postgresql-$POSTGRESQL"
  [ -f "/usr/share/postgresql/$POSTGRESQL/extension/pgaudit.control" ] || echo "postgresql-$POSTGRESQL-pgaudit"
}

install_packages() {
  local missing
  mapfile -t missing < <(needs_of_this_machine)
  [ "${#missing[@]}" -eq 0 ] && return
  have apt-get || die "needs ${missing[*]}, and can install them only where there is apt-get (Debian 12): install them by hand"
  [ "$(id -u)" -eq 0 ] || die "needs ${missing[*]}: run as root, or install them first"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  # The packaged cluster is never wanted: the tests make a private one.
  apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}"
}

# --- the languages' registries -----------------------------------------------------------------------------------------

make_python() {
  python3 -m venv "$1"
  "$1/bin/pip" install -q --disable-pip-version-check -r "$parts/requirements.txt"
  "$1/bin/pip" install -q --disable-pip-version-check --require-hashes --no-deps -r "$parts/tools.txt"
}

make_python1() {
  python3 -m venv "$1"
  "$1/bin/pip" install -q --disable-pip-version-check --no-deps -r "$parts/python1.txt"
}

make_fhir() {
  python3 -m venv "$1"
  "$1/bin/pip" install -q --disable-pip-version-check --no-deps --ignore-requires-python -r "$parts/fhir.txt"
}

# Apart from the rest: it brings sixty packages of its own.
make_moto() {
  python3 -m venv "$1"
  "$1/bin/pip" install -q --disable-pip-version-check -r "$parts/moto.txt"
}

make_node() {
  cp "$parts/package.json" "$parts/package-lock.json" "$1/"
  (cd "$1" && npm ci --silent --no-audit --no-fund --ignore-scripts)
}

make_go_everything() {
  have go || die "needs Go 1.21 or newer (a newer toolchain is fetched by itself): Debian 12's own is too old"
  GOBIN="$1" go install "$GO_EVERYTHING"
}

# Its licence is the AGPL: it runs beside the tests as a process of its own and is no part of the product.
make_minio() {
  have go || die "needs Go 1.21 or newer (a newer toolchain is fetched by itself): Debian 12's own is too old"
  GOBIN="$1" go install -trimpath "$MINIO"
}

# The sources are ours, the SDK and its needs are as go.sum holds them.
make_go_client() {
  have go || die "needs Go 1.21 or newer (a newer toolchain is fetched by itself): Debian 12's own is too old"
  (cd "$root/tests/fixtures/clients/go" && go build -buildvcs=false -trimpath -o "$1/client" .)
}

# A verifier of the audit log's checkpoints and proofs that is none of ours: Go's own note and tlog.
make_tlog() {
  have go || die "needs Go 1.21 or newer (a newer toolchain is fetched by itself): Debian 12's own is too old"
  (cd "$root/tests/fixtures/tlog" && go build -buildvcs=false -trimpath -o "$1/verifier" .)
}

# A log collector that takes OTLP and what Splunk takes: OpenTelemetry's own, of no more parts than the tests need, as go.sum holds them.
make_otel() {
  have go || die "needs Go 1.21 or newer (a newer toolchain is fetched by itself): Debian 12's own is too old"
  (cd "$root/tests/fixtures/collector" && go build -buildvcs=false -trimpath -o "$1/collector" .)
}

# Validators of the audit formats that are none of ours: of OCSF and CEF in Python, of FHIR and DICOM in Java, whose definitions come as jars.
make_formats() {
  python3 -m venv "$1"
  "$1/bin/pip" install -q --disable-pip-version-check --no-deps -r "$parts/formats.txt"
  mkdir "$1/java"
  cp "$root/tests/fixtures/formats/pom.xml" "$1/java/"
  (cd "$1/java" && mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime "-DoutputDirectory=$1/java/lib")
  javac -proc:none -cp "$1/java/lib/*" -d "$1/java/classes" "$root/tests/fixtures/formats/Validator.java"
}

# Every build-time option must be given here: a start that differs from its build exits.
make_keycloak() {
  # There, and not in the clone: Maven marks in target/ what it has unpacked, and would not unpack it again into a new cache.
  (cd "$1" && mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:unpack \
    "-Dartifact=org.keycloak:keycloak-quarkus-dist:$KEYCLOAK:zip" "-DoutputDirectory=$1")
  chmod +x "$1/keycloak-$KEYCLOAK"/bin/*.sh
  "$1/keycloak-$KEYCLOAK/bin/kc.sh" build --db=dev-file --health-enabled=true --cache=local >"$1/build.log" 2>&1 ||
    { cat "$1/build.log" >&2; die "kc.sh build failed"; }
}

# install_python: what fuzzing needs, too.
install_python() {
  python="$cache/python-$(digest "$parts/requirements.txt" "$parts/tools.txt")"
  cached "$(basename "$python")" make_python
}

# install_parts: everything, and the names by which the rest of the scripts and the tests find it.
install_parts() {
  install_packages
  install_python
  moto="$cache/moto-$(digest "$parts/moto.txt")"
  node="$cache/node-$(digest "$parts/package-lock.json")"
  go_everything="$cache/go-everything-$(digest <(echo "$GO_EVERYTHING"))"
  minio="$cache/minio-$(digest <(echo "$MINIO"))"
  go_client="$cache/go-client-$(digest "$root"/tests/fixtures/clients/go/*)"
  tlog="$cache/tlog-$(digest "$root"/tests/fixtures/tlog/*)"
  otel="$cache/otel-$(digest "$root"/tests/fixtures/collector/*)"
  formats="$cache/formats-$(digest "$parts/formats.txt" "$root"/tests/fixtures/formats/{pom.xml,Validator.java})"
  python1="$cache/python1-$(digest "$parts/python1.txt")"
  fhir="$cache/fhir-$(digest "$parts/fhir.txt")"
  keycloak="$cache/keycloak-$(digest <(declare -f make_keycloak) <(echo "$KEYCLOAK"))"
  cached "$(basename "$moto")" make_moto
  cached "$(basename "$node")" make_node
  cached "$(basename "$go_everything")" make_go_everything
  cached "$(basename "$go_client")" make_go_client
  cached "$(basename "$minio")" make_minio
  cached "$(basename "$tlog")" make_tlog
  cached "$(basename "$otel")" make_otel
  cached "$(basename "$formats")" make_formats
  cached "$(basename "$python1")" make_python1
  cached "$(basename "$fhir")" make_fhir
  cached "$(basename "$keycloak")" make_keycloak
}
