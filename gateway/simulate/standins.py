"""Which stand-ins there are, by name. A further repository is a further file and a line here."""

from __future__ import annotations

from typing import Final

from gateway.simulate.behzisti import Behzisti
from gateway.simulate.cancer_registry import CancerRegistry
from gateway.simulate.cart import Cart
from gateway.simulate.chongqing import Chongqing
from gateway.simulate.ditas import Ditas
from gateway.simulate.fse import Fse
from gateway.simulate.medcare import Medcare
from gateway.simulate.sepas import Sepas
from gateway.simulate.server import StandIn

STAND_INS: Final[dict[str, type[StandIn]]] = {
    each.name: each for each in (Sepas, Ditas, Medcare, CancerRegistry, Cart, Fse, Chongqing, Behzisti)
}
