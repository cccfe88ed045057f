# Starts what outlives one test, sourced by tests/run and tests/soak: a Keycloak with the imported realm, a PostgreSQL
# cluster and moto's server of AWS, all private, on loopback ports picked here, under $run. `stop_parts` ends them, by pid.
# shellcheck shell=bash

started=()

# free_port: one below the kernel's own (32768 on), which any connection may take meanwhile, and below those of tests/src/clinic.rs
# (20000 on). Each is given once, from a place of this run's own.
free_port() {
  python3 - "$$" "$run/ports" <<'PYTHON'
import pathlib, socket, sys

first, given = int(sys.argv[1]) * 97, pathlib.Path(sys.argv[2])
taken = given.read_text().split() if given.exists() else []
for place in range(4000):
    port = 16000 + (first + place) % 4000
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
    if str(port) not in taken:
        given.write_text(" ".join([*taken, str(port)]))
        print(port)
        break
else:
    sys.exit("no free port from 16000 to 19999")
PYTHON
}

# eventually SECONDS WHAT COMMAND…: until COMMAND succeeds; shows the last lines of $run/WHAT.log when it never does.
eventually() {
  local deadline=$((SECONDS + $1)) what="$2"
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { tail -n 40 "$run/$what.log" >&2; die "$what did not come up"; }
    sleep 0.3
  done
}

# One CA signs the server certificates of both.
make_certificates() {
  mkdir -p "$run/tls"
  cd "$run/tls"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=safeguard tests' \
    -keyout ca.key -out ca.pem 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=localhost' \
    -keyout server.key -out server.csr 2>/dev/null
  openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out server.pem \
    -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n') 2>/dev/null
  cd "$root"
}

# The built distribution is shared between runs; its data are not: a copy of hard links with a data folder of its own.
start_keycloak() {
  local home="$run/keycloak" http https management
  http="$(free_port)" https="$(free_port)" management="$(free_port)"
  cp -al "$keycloak/keycloak-$KEYCLOAK" "$home" 2>/dev/null || cp -a "$keycloak/keycloak-$KEYCLOAK" "$home"
  rm -rf "$home/data" && mkdir -p "$home/data/import"
  python3 "$parts/realm.py" "$root/docs/keycloak/realm.json" "$root/tests/fixtures/keycloak/realm.json" "$home/data/import"
  export SAFEGUARD_REALM="$home/data/import/healthcare.json"
  KEYCLOAK_CLIENT_SECRET=test-only-client-secret-of-full-length KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=admin JAVA_OPTS_KC_HEAP='-Xms128m -Xmx512m' \
    "$home/bin/kc.sh" start --optimized --import-realm --cache=local \
    --http-enabled=true --http-host=127.0.0.1 "--http-port=$http" "--https-port=$https" "--http-management-port=$management" \
    "--hostname=https://localhost:$https" --hostname-backchannel-dynamic=false \
    "--https-certificate-file=$run/tls/server.pem" "--https-certificate-key-file=$run/tls/server.key" --https-protocols=TLSv1.3 "--truststore-paths=$run/tls/ca.pem" \
    >"$run/keycloak.log" 2>&1 &
  started+=("$!")
  export SAFEGUARD_KEYCLOAK_URL="https://localhost:$https" SAFEGUARD_KEYCLOAK_PLAIN_URL="http://127.0.0.1:$http"
}

# "Started" in its log comes a minute before the realm is there.
await_keycloak() {
  local realm
  for realm in healthcare as-shipped; do
    eventually 300 keycloak curl_ok "$SAFEGUARD_KEYCLOAK_PLAIN_URL/realms/$realm"
  done
}
curl_ok() { python3 -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=5)' "$1"; }

# PostgreSQL refuses to run as root. A prefix and no function: a command begun in the background must be the server itself, for `stop_parts` has its pid.
as_postgres=()
[ "$(id -u)" -ne 0 ] || as_postgres=(setpriv --reuid postgres --regid postgres --init-groups --)

start_postgresql() {
  local bin="/usr/lib/postgresql/$POSTGRESQL/bin" home="$run/postgresql" port
  port="$(free_port)"
  mkdir -p "$home/socket"
  cp "$run/tls/server.pem" "$run/tls/server.key" "$home/"
  chmod 600 "$home/server.key"
  [ "$(id -u)" -ne 0 ] || chown -R postgres: "$home"
  "${as_postgres[@]}" "$bin/initdb" -D "$home/data" -U postgres --auth=reject --no-sync -E UTF8 >"$run/postgresql.log" 2>&1
  # The owner of the cluster comes by the socket, which only its folder's owner and root can reach; all others by TLS.
  printf '%s\n' 'local all all trust' 'hostssl all all 127.0.0.1/32 scram-sha-256' | "${as_postgres[@]}" tee "$home/data/pg_hba.conf" >/dev/null
  "${as_postgres[@]}" chmod 700 "$home/socket"
  "${as_postgres[@]}" "$bin/postgres" -D "$home/data" -k "$home/socket" -h 127.0.0.1 -p "$port" -c fsync=off -c max_connections=200 \
    -c password_encryption=scram-sha-256 -c ssl=on -c ssl_min_protocol_version=TLSv1.3 \
    -c "ssl_cert_file=$home/server.pem" -c "ssl_key_file=$home/server.key" \
    -c shared_preload_libraries=pgaudit -c pgaudit.log=ddl,role >>"$run/postgresql.log" 2>&1 &
  started+=("$!")
  export SAFEGUARD_POSTGRES_PORT="$port" SAFEGUARD_POSTGRES_SOCKET="$home/socket"
}

await_postgresql() {
  eventually 60 postgresql "/usr/lib/postgresql/$POSTGRESQL/bin/pg_isready" -q -h "$SAFEGUARD_POSTGRES_SOCKET" -p "$SAFEGUARD_POSTGRES_PORT" -U postgres
}

start_moto() {
  local port
  port="$(free_port)"
  "$moto/bin/moto_server" -H 127.0.0.1 -p "$port" >"$run/moto.log" 2>&1 &
  started+=("$!")
  export SAFEGUARD_MOTO_URL="http://127.0.0.1:$port"
}

await_moto() { eventually 60 moto curl_ok "$SAFEGUARD_MOTO_URL/moto-api/"; }

# start_parts: begins all; `await_parts` waits for them, so that a build can go on meanwhile.
start_parts() {
  make_certificates
  start_keycloak
  start_postgresql
  start_moto
  export SAFEGUARD_REQUIRE_REAL=1 SAFEGUARD_CA="$run/tls/ca.pem"
  export SAFEGUARD_PYTHON="$python/bin/python" SAFEGUARD_NODE_MODULES="$node/node_modules"
  export SAFEGUARD_GO_EVERYTHING="$go_everything/everything-server" SAFEGUARD_GO_CLIENT="$go_client/client" SAFEGUARD_TLOG="$tlog/verifier" SAFEGUARD_OTEL="$otel/collector"
  export SAFEGUARD_FORMATS="$formats"
  export SAFEGUARD_MINIO="$minio/minio" SAFEGUARD_BOTO="$moto/bin/python"
  export SAFEGUARD_PYTHON1="$python1/bin" SAFEGUARD_FHIR="$fhir/bin"
}

await_parts() {
  await_postgresql
  await_moto
  await_keycloak
}

stop_parts() {
  local pid
  # INT: PostgreSQL does not wait for its clients. TERM: Java, begun in the background, does not hear INT.
  for pid in "${started[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
}
