// The script of /auth/factor: asks a passkey or security key, and sends its answer as the form that it stands in.
"use strict";

const bytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0)).buffer;
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const named = (list) => (list ?? []).map((key) => ({ ...key, id: bytes(key.id) }));

async function asked(form) {
  const body = new URLSearchParams({ t: form.elements.t.value, ask: "1" });
  const answer = await fetch(form.action, { method: "POST", body });
  if (!answer.ok) throw new Error("The page is over, or no key is enrolled.");
  return answer.json();
}

async function created(options) {
  options.challenge = bytes(options.challenge);
  options.user.id = bytes(options.user.id);
  options.excludeCredentials = named(options.excludeCredentials);
  const made = await navigator.credentials.create({ publicKey: options });
  return [made, {
    clientDataJSON: text(made.response.clientDataJSON),
    attestationObject: text(made.response.attestationObject),
    transports: made.response.getTransports(),
  }];
}

async function used(options) {
  options.challenge = bytes(options.challenge);
  options.allowCredentials = named(options.allowCredentials);
  const got = await navigator.credentials.get({ publicKey: options });
  return [got, {
    clientDataJSON: text(got.response.clientDataJSON),
    authenticatorData: text(got.response.authenticatorData),
    signature: text(got.response.signature),
    userHandle: got.response.userHandle ? text(got.response.userHandle) : null,
  }];
}

async function send(form) {
  const options = await asked(form);
  const [key, response] = await (options.user ? created(options) : used(options));
  form.elements.key.value = JSON.stringify({
    id: key.id, rawId: text(key.rawId), type: key.type, response,
    authenticatorAttachment: key.authenticatorAttachment ?? undefined,
    clientExtensionResults: key.getClientExtensionResults(),
  });
  form.submit();
}

for (const form of document.querySelectorAll("form[data-key]")) {
  if (!window.PublicKeyCredential) continue;
  form.hidden = false;
  form.querySelector("button").addEventListener("click", () => {
    const trouble = form.querySelector(".trouble");
    trouble.textContent = "";
    send(form).catch((error) => { trouble.textContent = error.message; });
  });
}
