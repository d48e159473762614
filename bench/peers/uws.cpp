// A room over uWebSockets: whoever connects to /sub hears what anybody says over /pub.
#include "App.h"
#include <cstdlib>

struct Nothing {};

int main(int, char **arguments) {
    uWS::App app;
    app.ws<Nothing>("/sub", {
        .compression = uWS::DISABLED,
        .maxPayloadLength = 64 * 1024,
        .idleTimeout = 0,
        .maxBackpressure = 64 * 1024 * 1024,
        .sendPingsAutomatically = false,
        .open = [](auto *socket) { socket->subscribe("room"); },
    });
    app.ws<Nothing>("/pub", {
        .compression = uWS::DISABLED,
        .maxPayloadLength = 64 * 1024,
        .idleTimeout = 0,
        .sendPingsAutomatically = false,
        .message = [&app](auto *, std::string_view said, uWS::OpCode kind) { app.publish("room", said, kind); },
    });
    app.listen("127.0.0.1", std::atoi(arguments[1]), [](auto *listening) {
        if (!listening) std::exit(1);
    });
    app.run();
}
