"""packetdrill's scripts on our stack in virtual time: `script` reads them, `runner` plays them."""
