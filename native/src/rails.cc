// The kinds of rails there are.
#include "fabric-rail.h"
#include "local-rail.h"
#include "rail.h"
#include "tcp-rail.h"

namespace moontide {
namespace {

std::string optionOf(const RailOptions& options, const char* name) {
  const auto found = options.find(name);
  return found == options.end() ? "" : found->second;
}

}  // namespace

std::unique_ptr<Rail> makeRail(const RailOptions& options, std::string* why) {
  const std::string kind = optionOf(options, "kind");
  if (kind == "tcp") return makeTcpRail(options, why);
  if (kind == "local") return makeLocalRail(options, why);
  if (kind == "fabric") {
    return std::make_unique<FabricRail>(FabricChoice{
        optionOf(options, "provider"), optionOf(options, "domain"), optionOf(options, "address")});
  }
  *why = "unknown kind of rail '" + kind + "', expected local, tcp or fabric";
  return nullptr;
}

}  // namespace moontide
