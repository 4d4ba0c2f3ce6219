"""Every make of pump keeps the contract."""

from tests.instruments.pumps.contract import PumpContract


class TestNewEraSafe(PumpContract):
    name = "NE-1000 safe"


class TestNewEraBasic(PumpContract):
    name = "NE-1000 basic"


class TestLegato(PumpContract):
    name = "Legato"


class TestElite(PumpContract):
    name = "Elite"


class TestPhdUltra(PumpContract):
    name = "PHD Ultra"


class TestRegloIcc(PumpContract):
    name = "Reglo ICC"


class TestCavroOem(PumpContract):
    name = "Cavro OEM"


class TestCavroDt(PumpContract):
    name = "Cavro DT"


class TestChemyxFusion(PumpContract):
    name = "Chemyx"
