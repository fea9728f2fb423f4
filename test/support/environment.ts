/** What a shell may have set for its own cluster does not reach the tests and their processes. */
for (const name of Object.keys(process.env)) {
  if (/^MOONTIDE_(?:TOKEN|TLS_)/.test(name)) delete process.env[name];
}
