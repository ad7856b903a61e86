"""The error functions and the logarithm of the gamma function, with its derivative."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hornbeam.base import dtypes
from hornbeam.engines.native.mathlib.exponential import EXP, exp_range, reduce_exp, scaled
from hornbeam.engines.native.mathlib.lanes import INF, NAN, Lanes, fma, polynomial, product2, sum2, where
from hornbeam.engines.native.mathlib.logarithm import log1p_of, log_ends, log_of, log_parts
from hornbeam.engines.native.mathlib.trigonometric import sin_cos

# -- error functions -------------------------------------------------------------------------------

# erf(x) / x - 1 in x**2, |x| <= 1
ERF = {
    "float32": (0.128379166, -0.37612626, 0.112835832, -0.0268536918, 0.00518807396, -0.00080078782, 7.8461082e-05),
    "float64": (
        0.12837916709551256, -0.3761263890318346, 0.11283791670942667, -0.026866170642932907, 0.005223977604947171,
        -0.0008548325882252492, 0.00012055292360244849, -1.4924691654428451e-05, 1.644690284419328e-06,
        -1.62047212688752e-07, 1.3704655279290379e-08, -7.768538107414629e-10),
}  # fmt: skip
# erfc(t + 2.5), -1.5 <= t <= 1.45
ERFC32 = (
    0.000406929641, -0.00217806268, 0.00544673111, -0.00835343637, 0.00861482322, -0.00610262202, 0.00281929993,
    -0.000571149925, -0.000287650968, 0.000279319647, -6.13556258e-05, -2.11216229e-05, 9.03253658e-06)  # fmt: skip
# (1 + 2 x) exp(x**2) erfc(x) in t = (x - 4) / (x + 4), 1/2 <= x <= 27.3
ERFC = (
    1.2329951186255526, -0.13962111684056255, 0.015379652102613708, 0.06809705425469488, -0.10103906603605588,
    0.09373283499832986, -0.0663303658170128, 0.03716751553699044, -0.01619773400597079, 0.005031969990051773,
    -0.0007577736329348406, -0.00019925680922827172, 0.00015062315445965759, -2.4398601870100555e-05,
    -1.1226222840728567e-05, 5.70770361493541e-06, 3.0162512762574685e-07, -8.211647512481099e-07,
    6.541913398545182e-08, 1.0453281330647397e-07, -1.168945177018505e-08, -1.0075195401583019e-08)  # fmt: skip


# The same to float32's accuracy, the first coefficient in two parts.
ERFC32_SCALED = (
    1.2329951524734497, -0.139621064, 0.015379807, 0.0680943653, -0.10104426, 0.0937694013, -0.066261813, 0.0369884185,
    -0.0165770464, 0.00527388556)  # fmt: skip
ERFC32_FIRST_LOW = -3.48006009e-08


def erf(x: Lanes) -> Lanes:
    """A polynomial up to 1, then 1 - erfc."""
    a = abs(x)
    near = fma(x, polynomial(x * x, ERF[x.dtype.name]), x)
    if x.dtype == dtypes.float32:
        far = where(a >= 3.92, 0.0, polynomial(a - 2.5, ERFC32))  # 1 - far rounds to 1 from there
    else:
        far = _erfc_far(a.at_most(6.0))
    return where(a < 1.0, near, (1.0 - far).signed_as(x))


def _erfc_far(x: Lanes) -> Lanes:
    """exp(-x**2) ERFC(t) / (1 + 2 x), every factor in two parts, of which one division makes all quotients."""
    single = x.dtype == dtypes.float32
    first, *others = ERFC32_SCALED if single else ERFC
    square, square_low = product2(x, x)
    r, n = reduce_exp(exp_range(-square))
    r, r_low = sum2(r, -square_low)
    p, p_low = sum2(x.constant(1.0), fma(r * r, polynomial(r, EXP[x.dtype.name]), r))
    p_low = fma(p, r_low, p_low)
    d, u = fma(x, 2.0, 1.0), x + 4.0
    inverse = 1.0 / (d * u)
    near, far = x - 4.0, d * inverse
    t = near * far
    t = fma(fma(-t, u, near), far, t)  # what is left over corrects a quotient
    inverse = u * inverse
    c, c_low = sum2(x.constant(first), t * polynomial(t, others))
    c_low = c_low + ERFC32_FIRST_LOW if single else c_low
    q = c * inverse
    q_low = (fma(-q, d, c) + fma(-q, fma(x, 2.0, 1.0 - d), c_low)) * inverse
    return scaled(fma(p, q, fma(p, q_low, p_low * q)), n)


def erfc(x: Lanes) -> Lanes:
    """1 - erf up to 1/2, then exp(-x**2) times a polynomial; 2 - erfc(-x) below -1."""
    a = abs(x)
    near = 1.0 - fma(x, polynomial(x * x, ERF[x.dtype.name]), x)
    far = _erfc_far(a.at_most(10.2 if x.dtype == dtypes.float32 else 30.0))
    return where((x < 0.5) & (x > -1.0), near, where(x < 0.0, 2.0 - far, far))


# erf_inv(x) / x with w = -log(1 - x**2): in w - 2.5 up to w = 5, in sqrt(w) - 3 up to 16, in sqrt(w) - 5 up to 36.1
ERF_INV = (
    (
        1.501409351110792, 0.24664027674416697, -0.0041773177243845175, -0.0012527079078107903,
        0.00021825026434768338, -4.996079599505839e-06, -3.416619603346749e-06, 4.787252193936197e-07,
        1.3416810816765812e-08, -1.0861169599260522e-08, 9.072991526700322e-10, 1.196072985950017e-10,
        -3.110094593295598e-11, 9.114729122615848e-13, 5.351399768973269e-13, -7.61088148326311e-14,
        -2.7944943258999576e-15, 1.8946053242727317e-15, -1.4615486708478484e-16, -2.6686416771562102e-17,
        5.508135366190449e-18, 1.659879638778329e-19, -8.526187234326145e-20),
    (
        2.832976798728271, 1.0016752766933994, 0.009445522011937367, -0.007643805570008112, 0.005685182420151242,
        -0.003558794018026642, 0.0014837373026057024, -0.00014889806298678867, -0.00028312402758748947,
        0.00020551617813738878, -4.646256449569534e-05, -2.287056239803869e-05, 2.1941515525668557e-05,
        -5.957126000447005e-06, -1.6659559781113558e-06, 2.021648262719588e-06, -6.30026818908232e-07,
        -1.0969755832742218e-07, 1.63327952244964e-07, -4.1205803856525505e-08, -7.665512176385364e-09,
        4.068485418888932e-09),
    (
        4.849906401408584, 1.0103004648645455, -0.00013871931836152086, -0.0002150301198348815, 7.599527745192934e-05,
        -1.968177061500859e-05, 4.52605965179848e-06, -9.93029832574377e-07, 2.290152957758963e-07,
        -6.755497107479714e-08, 2.912736240755244e-08, -1.5256933653201737e-08, 7.638355894018253e-09,
        -3.4697605755324686e-09, 1.4945976255355108e-09, -4.38224395684267e-10, -2.4039138417185694e-11,
        4.297238946918509e-11),
)  # fmt: skip
# The same to float32's accuracy, for which w <= 16.
ERF_INV32 = (
    (
        1.50140935172332, 0.24664027689874962, -0.004177324904157004, -0.0012527084925531323, 0.00021826392805285815,
        -4.9954766759604134e-06, -3.426190516297962e-06, 4.784834079257956e-07, 1.649209150867314e-08,
        -1.0826503247509891e-08, 4.346568905526759e-10, 1.2128899917092832e-10),
    (
        2.8329767985082728, 1.0016752577734502, 0.009445544842487323, -0.007643214512131904, 0.0056846884002574325,
        -0.003563951939271324, 0.0014880345230131192, -0.0001306361522108402, -0.0003001859484494147,
        0.00017816794087082064, -1.5422460796884674e-05, -1.1283309087526512e-05),
)  # fmt: skip


def erf_inv(x: Lanes, fits: Sequence[Sequence[float]] = ERF_INV) -> Lanes:
    """Within 3 ulp: x times a polynomial in w = -log(1 - x**2) or its root."""
    w = -log_of(*log_parts((1.0 - x) * (1.0 + x))) if len(fits) < 3 else -log1p_of(-(x * x))
    a = abs(x)
    if len(fits) == 3:  # towards 1, where 1 - |x| is exact and 1 - x**2 is not
        d = 1.0 - a
        w = where(a > 0.5, -log_of(*log_parts(d * (1.0 + a))), w)
    root = w.sqrt()
    result = where(w < 5.0, polynomial(w - 2.5, fits[0]), polynomial(root - 3.0, fits[1]))
    if len(fits) == 3:
        result = where(w < 16.0, result, polynomial(root - 5.0, fits[2]))
    return where(a < 1.0, result * x, where(a.eq(1.0), x * INF, NAN))


# -- gamma function --------------------------------------------------------------------------------

# log(gamma(2 + t)) / t, |t| <= 1/2
LGAMMA = (
    0.42278433509846713, 0.3224670334241133, -0.06735230105319548, 0.020580808427765766, -0.00738555102894177,
    0.002890510331841517, -0.001192753900896347, 0.0005096694952754969, -0.00022315497823207625,
    9.945794063536359e-05, -4.492372540854361e-05, 2.050357825757467e-05, -9.456284763903786e-06,
    4.393348899179288e-06, -1.9743440306198546e-06, 9.003387341250211e-07, -5.810769495478539e-07,
    2.9726062207895626e-07)  # fmt: skip
# x (log(gamma(x)) - (x - 1/2) log(x) + x - log(2 pi) / 2) in 1 / x**2, x >= 8
STIRLING = (
    0.08333333333333333, -0.002777777777766815, 0.0007936507860928017, -0.0005952357837064108, 0.0008413848551944032,
    -0.0018860270746803927, 0.004980255706043766)  # fmt: skip
# x**2 (log(x) - 1 / (2 x) - digamma(x)) in 1 / x**2, x >= 8
DIGAMMA = (
    0.08333333333333333, -0.008333333333287063, 0.003968253916688719, -0.004166645933450875, 0.007571814132222622,
    -0.020704615765898993, 0.06375617997894727)  # fmt: skip


def _sin_cos_pi(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """(|sin(pi x)|, cos(pi r), r) with r = x less its nearest whole number."""
    r = x - x.unary("roundeven")
    a = abs(r)
    steep = a > 0.25
    sine, cosine = sin_cos(where(steep, 0.5 - a, a) * math.pi)
    return where(steep, cosine, sine), where(steep, sine, cosine), r


def lgamma(x: Lanes) -> Lanes:
    """Reflection below 1/2, a polynomial about 2 and recurrence below 8, Stirling's series from there."""
    low = x < 0.5
    z = where(low, 1.0 - x, x)
    near = z < 8.0
    n = z.at_most(8.0).unary("roundeven").at_least(1.0)
    t = z - n
    product = where(n < 2.0, z, 1.0)
    for i in range(1, 7):
        product = where(n > i + 1.5, product * (z - float(i)), product)
    size = where(near, product, z)
    logarithm = log_ends(size, log_of(*log_parts(size)))
    series = polynomial(1.0 / (z * z), STIRLING) / z
    far = (z - 0.5) * (logarithm - 1.0) + (0.4189385332046727 + series)
    t = where(near, t, 0.0)
    value = where(near, fma(t, polynomial(t, LGAMMA), where(n < 2.0, -logarithm, logarithm)), far)
    sine, _, r = _sin_cos_pi(x)
    tiny = abs(x) < 2.0**-60  # where pi / sine may overflow
    ratio = where(tiny, abs(x), math.pi / where(low, sine, 1.0))
    reflected = log_of(*log_parts(ratio))
    reflected = where(tiny, -reflected, reflected - value)
    pole = low & r.eq(0.0)
    return where(pole | abs(x).eq(INF), INF, where(low, reflected, value))


def digamma(x: Lanes) -> Lanes:
    """Reflection below 0, recurrence up to 8, then the asymptotic series."""
    low = x < 0.0
    z = where(low, 1.0 - x, x)
    over, under = x.constant(0.0), x.constant(1.0)
    for _ in range(8):
        step = z < 8.0
        over, under = where(step, fma(over, z, under), over), where(step, under * z, under)
        z = where(step, z + 1.0, z)
    y = 1.0 / (z * z)
    value = log_ends(z, log_of(*log_parts(z))) - (0.5 / z + fma(y, polynomial(y, DIGAMMA), over / under))
    sine, cosine, r = _sin_cos_pi(x)
    cotangent = (cosine / sine).signed_as(r) * math.pi
    value = where(low, value - cotangent, value)
    pole = (x <= 0.0) & (r.eq(0.0) | x.eq(-INF))
    return where(pole, NAN, value)
