/* SPDX-License-Identifier: MIT */
/* The generator is SplitMix64, repeats by its seed, and stays in bounds. */
#include "daemon/core/prng.h"
#include "tests/support/test.h"

/* The first numbers of SplitMix64 from 1234567, as its reference implementation gives them. */
TEST(it_is_splitmix64)
{
    static const uint64_t expected[] = {UINT64_C(6457827717110365317), UINT64_C(3203168211198807973),
        UINT64_C(9817491932198370423), UINT64_C(4593380528125082431), UINT64_C(16408922859458223821)};
    struct sl_prng prng;
    sl_prng_init(&prng, 1234567);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(sl_prng_next(&prng), expected[i]);
}

TEST(a_seed_repeats_and_another_does_not)
{
    struct sl_prng a, b, c;
    sl_prng_init(&a, 0);
    sl_prng_init(&b, 0);
    sl_prng_init(&c, 1);
    assert_int_equal(sl_prng_next(&a), sl_prng_next(&b));
    assert_int_not_equal(sl_prng_next(&a), sl_prng_next(&c));
}

TEST(below_is_below_and_reaches_everything)
{
    struct sl_prng prng;
    unsigned seen[7] = {0};
    sl_prng_init(&prng, 42);
    assert_int_equal(sl_prng_below(&prng, 0), 0);
    for (int i = 0; i < 7000; i++) {
        uint64_t n = sl_prng_below(&prng, 7);
        assert_true(n < 7);
        seen[n]++;
    }
    for (size_t i = 0; i < 7; i++)
        assert_in_range(seen[i], 800, 1200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_splitmix64),
        cmocka_unit_test(a_seed_repeats_and_another_does_not),
        cmocka_unit_test(below_is_below_and_reaches_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
